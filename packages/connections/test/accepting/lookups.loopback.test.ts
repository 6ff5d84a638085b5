import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Connection } from '../../src/index.js';
import {
  answerTo,
  anybody,
  openClient,
  openTcp,
  pending,
  refusalOf,
  startAccepting,
  type Accepting,
} from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';
import { upgradeRequest } from '../support/raw-client.js';
import { Random } from '../support/random.js';

failOnUncaught();

/** Lookups that the test answers. */
async function startLookups(
  options: Parameters<typeof startAccepting>[0] = {},
): Promise<Accepting & { readonly lookups: ReturnType<typeof pending<unknown>>[]; signals: AbortSignal[] }> {
  const lookups: ReturnType<typeof pending<unknown>>[] = [];
  const signals: AbortSignal[] = [];
  const authenticate = (_request: unknown, { signal }: { signal: AbortSignal }): Promise<unknown> => {
    const lookup = pending<unknown>();
    lookups.push(lookup);
    signals.push(signal);
    return lookup.promise;
  };
  const accepting = await startAccepting({ ...options, accept: { authenticate, ...options.accept } });
  return { ...accepting, lookups, signals };
}

/** No client is counted any more. */
async function isEmpty({ acceptor, pool }: Accepting): Promise<void> {
  await expect.poll(() => [acceptor.clients, acceptor.pending, pool.stats().connections]).toEqual([0, 0, 0]);
}

describe('a client that leaves while it is looked up', () => {
  test.each([
    ['resets', (client: Awaited<ReturnType<typeof openTcp>>) => void client.resetAndDestroy()],
    ['ends politely', (client: Awaited<ReturnType<typeof openTcp>>) => void client.end()],
  ])('a client that %s during its lookup aborts the signal, and the answer is ignored', async (_, leave) => {
    const accepting = await startLookups();
    const { port, lookups, signals, acceptor, errors } = accepting;
    let connections = 0;
    accepting.pool.on('connection', () => connections++);
    const client = await openTcp(port);
    client.write(upgradeRequest());
    await expect.poll(() => acceptor.pending).toBe(1);
    const aborted = once(signals[0]!, 'abort');
    leave(client);
    await aborted;
    expect(signals[0]!.reason).toMatchObject({ name: 'AbortError' });
    expect([acceptor.clients, acceptor.pending]).toEqual([0, 1]);
    lookups[0]!.resolve(anybody());
    await isEmpty(accepting);
    expect(connections).toBe(0);
    expect(errors).toEqual([]);
  });

  test('a lookup that fails after its client has gone causes no error event', async () => {
    const accepting = await startLookups();
    const { port, lookups, signals, acceptor, errors } = accepting;
    const client = await openTcp(port);
    client.write(upgradeRequest());
    await expect.poll(() => acceptor.pending).toBe(1);
    client.resetAndDestroy();
    await once(signals[0]!, 'abort');
    lookups[0]!.reject(new Error('aborted'));
    await isEmpty(accepting);
    expect(errors).toEqual([]);
  });

  test('a client may leave at any moment of its lookup', async () => {
    const random = new Random(1);
    const authenticate = async (): Promise<unknown> => {
      await delay(random.below(8));
      if (random.chance(0.2)) throw new Error('broken');
      return random.pick([anybody(), undefined, { status: 402 }]);
    };
    for (const refuseWith of ['http', 'close'] as const) {
      const accepting = await startAccepting({ accept: { authenticate, refuseWith } });
      const lives = Array.from({ length: 150 }, async () => {
        const client = await openTcp(accepting.port);
        client.resume();
        client.write(upgradeRequest());
        await delay(random.below(12));
        if (random.chance(0.5)) client.resetAndDestroy();
        else client.end();
      });
      await Promise.all(lives);
      await isEmpty(accepting);
      expect(accepting.errors.every(({ message }) => message === 'broken')).toBe(true);
    }
  });
});

describe('a request that is not complete', () => {
  test('an incomplete request is not counted, and its reset breaks nothing', async () => {
    const { port, acceptor, url } = await startAccepting();
    for (const length of [1, 20, upgradeRequest().length - 1]) {
      const client = await openTcp(port);
      client.write(upgradeRequest().slice(0, length));
      await delay(10);
      expect(acceptor.clients).toBe(0);
      client.resetAndDestroy();
    }
    await openClient(url);
  });
});

describe('a handshake that is not valid', () => {
  test('an invalid handshake is answered by ws with 400, and is not counted', async () => {
    const accepting = await startAccepting();
    const client = await openTcp(accepting.port);
    client.end(upgradeRequest().replace('Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 12'));
    expect(await answerTo(client)).toContain('400 Bad Request');
    await isEmpty(accepting);
  });
});

describe('authenticate', () => {
  test.each([
    ['undefined', undefined],
    ['null', null],
    ['false', false],
    ['an identity that has expired', { ...anybody(), expiresAt: Date.now() }],
    ['an identity that expired at the epoch', { ...anybody(), expiresAt: 0 }],
    ['an identity that was never valid', { ...anybody(), expiresAt: -Infinity }],
  ])('authenticate refuses with 401 when it answers %s', async (_, answer) => {
    const accepting = await startAccepting({ accept: { authenticate: () => answer } });
    expect((await refusalOf(accepting.url)).status).toBe(401);
    const later = await startAccepting({ accept: { authenticate: () => Promise.resolve(answer) } });
    expect((await refusalOf(later.url)).status).toBe(401);
    await isEmpty(accepting);
    await isEmpty(later);
  });

  test.each([
    ['true', true, 'authenticate'],
    ['a string', 'ada', 'authenticate'],
    ['nothing that it knows', {}, 'authenticate'],
    ['no id', { namespace: 'n' }, 'authenticate'],
    ['no namespace', { id: 'a' }, 'namespace'],
    ['an id of another type', { id: {}, namespace: 'n' }, 'id'],
    ['an expiry that is no number', { ...anybody(), expiresAt: new Date() }, 'expiresAt'],
    ['NaN as expiry', { ...anybody(), expiresAt: NaN }, 'expiresAt'],
    // The `exp` of a JWT is in seconds: every login was refused with 401, and nothing said why.
    [
      'an expiry in seconds',
      { ...anybody(), expiresAt: Math.ceil(Date.now() / 1000) + 900 },
      'not in seconds',
    ],
    ['an expiry in ms from now', { ...anybody(), expiresAt: 900_000 }, 'ms since the epoch'],
    ['a status that is no refusal', { status: 200 }, 'status'],
    ['an identity and a refusal in one', { ...anybody(), status: 403 }, 'both'],
    ['rooms that are a number', { ...anybody(), rooms: 5 }, 'rooms to be a room'],
    ['a list with something that is no room', { ...anybody(), rooms: ['a', 5] }, 'each of rooms'],
    ['a header that would be two', { status: 401, headers: { 'X-A': 'a\r\nX-B: b' } }, 'header'],
    ['a header name that is none', { status: 401, headers: { 'X A': 'a' } }, 'eader name'],
    ['a reason that is too long', { status: 401, reason: 'x'.repeat(124) }, 'close reason'],
    ['a close code that nobody may send', { status: 401, closeCode: 1006 }, 'close code'],
  ])('%s as the answer of authenticate causes a 500 and an error event', async (_, answer, message) => {
    const accepting = await startAccepting({ accept: { authenticate: () => answer } });
    expect((await refusalOf(accepting.url)).status).toBe(500);
    expect(accepting.errors).toHaveLength(1);
    expect(accepting.errors[0]!.message).toContain(message);
    await isEmpty(accepting);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
    ['rejects later', async () => delay(10).then(() => Promise.reject(new Error('broken')))],
    [
      'returns a thenable that throws',
      () => ({
        then: () => {
          throw new Error('broken');
        },
      }),
    ],
    [
      // The lookup counted as running for ever.
      'returns an object whose `then` cannot be read',
      () => ({
        get then(): unknown {
          throw new Error('broken');
        },
      }),
    ],
  ])('an authenticate that %s causes a 500 and an error event', async (_, authenticate) => {
    const accepting = await startAccepting({ accept: { authenticate } });
    expect((await refusalOf(accepting.url)).status).toBe(500);
    expect(accepting.errors).toMatchObject([{ message: 'broken' }]);
    await isEmpty(accepting);
  });

  test('the signal of authenticate does not abort when the accepted client leaves', async () => {
    const accepting = await startLookups();
    const opened = openClient(accepting.url);
    await expect.poll(() => accepting.lookups.length).toBe(1);
    accepting.lookups[0]!.resolve(anybody());
    const client = await opened;
    client.socket.terminate();
    await isEmpty(accepting);
    expect(accepting.signals[0]!.aborted).toBe(false);
  });

  test('a lookup leaves no listener on the socket', async () => {
    const accepting = await startLookups();
    const [request] = (await Promise.all([
      once(accepting.server, 'upgrade'),
      openClient(accepting.url),
      expect
        .poll(() => accepting.lookups.length)
        .toBe(1)
        .then(() => accepting.lookups[0]!.resolve(anybody())),
    ])) as [[unknown, Awaited<ReturnType<typeof openTcp>>], unknown, unknown];
    const socket = request[1];
    const counts = ['error', 'readable', 'end', 'close'].map((event) => socket.listenerCount(event));
    const plain = await startAccepting();
    const [[, other]] = (await Promise.all([once(plain.server, 'upgrade'), openClient(plain.url)])) as [
      [unknown, Awaited<ReturnType<typeof openTcp>>],
      unknown,
    ];
    expect(counts).toEqual(['error', 'readable', 'end', 'close'].map((event) => other.listenerCount(event)));
    expect(socket.listenerCount('readable')).toBe(0);
  });

  test('a long lookup keeps the pause of a socket that its listener pauses', async () => {
    // Taking the `readable` listener off made the socket flow again a tick later.
    const accepting = await startLookups();
    let connection: Connection | undefined;
    accepting.pool.on('connection', (joined) => {
      connection = joined;
      joined.on('message', () => undefined);
      (joined.connection as unknown as { pause(): void }).pause();
    });
    const opened = openClient(accepting.url);
    await expect.poll(() => accepting.lookups.length).toBe(1);
    accepting.lookups[0]!.resolve(anybody());
    const client = await opened;
    client.socket.send('while paused');
    await delay(50);
    expect(accepting.pool.stats()).toMatchObject({ connections: 1 });
    let received = 0;
    connection!.on('message', () => received++);
    await delay(20);
    expect(received).toBe(0);
    (connection!.connection as unknown as { resume(): void }).resume();
    await expect.poll(() => received).toBe(1);
  });
});

describe('a lookup that takes too long', () => {
  test('a lookup that takes too long ends with 408 and aborts its signal, whatever it answers later', async () => {
    const accepting = await startLookups({ accept: { timeout: 30 } });
    expect((await refusalOf(accepting.url)).status).toBe(408);
    expect(accepting.signals[0]!.reason).toMatchObject({ name: 'TimeoutError' });
    await isEmpty(accepting);
    accepting.lookups[0]!.resolve(anybody());
    expect((await refusalOf(accepting.url)).status).toBe(408);
    accepting.lookups[1]!.reject(new Error('too late'));
    await isEmpty(accepting);
    expect(accepting.errors).toEqual([]);
  });
});

describe('maxPending', () => {
  test('maxPending refuses with 503 while the maximum number of lookups is running', async () => {
    const accepting = await startLookups({ accept: { maxPending: 2, retryAfter: 7 } });
    const opened = [openClient(accepting.url), openClient(accepting.url)];
    await expect.poll(() => accepting.acceptor.pending).toBe(2);
    const { status, headers } = await refusalOf(accepting.url);
    expect([status, headers['retry-after']]).toEqual([503, '7']);
    accepting.lookups[0]!.resolve(anybody());
    await opened[0];
    const third = openClient(accepting.url);
    await expect.poll(() => accepting.lookups.length).toBe(3);
    for (const { resolve } of accepting.lookups) resolve(anybody());
    await Promise.all([...opened, third]);
  });

  test('maxPending counts a lookup whose client has gone until the lookup ends or times out', async () => {
    // A client that resets and reconnects could otherwise start any number of lookups.
    const accepting = await startLookups({ accept: { maxPending: 1, timeout: 1_500 } });
    const client = await openTcp(accepting.port);
    client.write(upgradeRequest());
    await expect.poll(() => accepting.acceptor.pending).toBe(1);
    client.resetAndDestroy();
    await once(accepting.signals[0]!, 'abort');
    expect((await refusalOf(accepting.url)).status).toBe(503);
    await isEmpty(accepting);
    const opened = openClient(accepting.url);
    await expect.poll(() => accepting.lookups.length).toBe(2);
    accepting.lookups[1]!.resolve(anybody());
    await opened;
  });
});
