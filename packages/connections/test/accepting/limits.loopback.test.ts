import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { anybody, openClient, openTcp, refusalOf, startAccepting } from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';
import { Random } from '../support/random.js';
import { upgradeRequest } from '../support/raw-client.js';

failOnUncaught();

/** The namespace is the path, so that a test can choose it. */
const byPath = (request: IncomingMessage) => ({ ...anybody(), namespace: request.url! });

describe('maxConnections', () => {
  test('maxConnections refuses with 503 and Retry-After until a client leaves', async () => {
    const { url, acceptor } = await startAccepting({ accept: { maxConnections: 2 } });
    const [first] = [await openClient(url), await openClient(url)];
    const { status, headers } = await refusalOf(url);
    expect([status, headers['retry-after']]).toEqual([503, '5']);
    first.socket.close();
    await expect.poll(() => acceptor.clients).toBe(1);
    await openClient(url);
  });

  test('maxConnections counts clients that are still looked up', async () => {
    const { url } = await startAccepting({
      accept: { maxConnections: 1, authenticate: async () => (await delay(100), anybody()) },
    });
    const opened = openClient(url);
    await delay(30);
    expect((await refusalOf(url)).status).toBe(503);
    await opened;
  });

  test('maxConnections counts a client that the pool closes until its socket has closed', async () => {
    const { url, pool, acceptor } = await startAccepting({ accept: { maxConnections: 1 } });
    const client = await openClient(url);
    await pool.closeAll('default', 4000);
    expect((await client.closed).code).toBe(4000);
    await expect.poll(() => acceptor.clients).toBe(0);
  });
});

describe('maxPerNamespace', () => {
  test('maxPerNamespace refuses with 503 if the namespace is full', async () => {
    const { url, acceptor } = await startAccepting({ accept: { maxPerNamespace: 1, authenticate: byPath } });
    await openClient(`${url}/a`);
    expect((await refusalOf(`${url}/a`)).status).toBe(503);
    await openClient(`${url}/b`);
    expect(acceptor.clients).toBe(2);
  });
});

describe('maxPer', () => {
  test('maxPer refuses with 429 and Retry-After before the lookup if the key is known', async () => {
    const authenticate = vi.fn(anybody);
    const key = vi.fn((request: IncomingMessage) => request.socket.remoteAddress);
    const { url, acceptor } = await startAccepting({ accept: { authenticate, maxPer: { key, limit: 1 } } });
    await openClient(url);
    const { status, headers } = await refusalOf(url, { headers: { 'X-Forwarded-For': '10.0.0.1' } });
    expect([status, headers['retry-after']]).toEqual([429, '5']);
    expect(authenticate).toHaveBeenCalledTimes(1);
    expect(key).toHaveBeenCalledTimes(2);
    expect(acceptor.clients).toBe(1);
  });

  test('maxPer asks for the key again after the lookup if it was undefined', async () => {
    const key = (_request: IncomingMessage, identity?: { namespace: string }) => identity?.namespace;
    const { url } = await startAccepting({
      accept: { authenticate: byPath, maxPer: { key: key, limit: 1 } },
    });
    const client = await openClient(`${url}/ada`);
    expect((await refusalOf(`${url}/ada`)).status).toBe(429);
    await openClient(`${url}/bob`);
    client.socket.terminate();
    await expect
      .poll(() =>
        openClient(`${url}/ada`).then(
          () => 101,
          () => 429,
        ),
      )
      .toBe(101);
  });

  test('maxPer emits the rejection of an async key as an error event', async () => {
    const key = (): never => Promise.reject(new Error('lost')) as never;
    const { url, errors, acceptor } = await startAccepting({ accept: { maxPer: { key, limit: 1 } } });
    expect((await refusalOf(url)).status).toBe(500);
    expect(errors.map(({ message }) => message)).toEqual([
      'Expected maxPer.key to answer a string, a number, a bigint or undefined, got `Promise` (object)',
      'lost',
    ]);
    await expect.poll(() => acceptor.clients).toBe(0);
  });

  test('maxPer sets no limit if the key is undefined twice', async () => {
    const { url } = await startAccepting({ accept: { maxPer: { key: () => undefined, limit: 1 } } });
    for (let client = 0; client < 3; client++) await openClient(url);
  });
});

test(
  'every limit is free again after hundreds of clients have left in different ways',
  { timeout: 30_000 },
  async () => {
    const random = new Random(3);
    const { port, url, pool, acceptor, errors } = await startAccepting({
      pool: { onDuplicate: 'reject', closeTimeout: 200 },
      accept: {
        maxConnections: 25,
        maxPending: 10,
        maxPerNamespace: 15,
        timeout: 15,
        maxPer: { key: () => random.below(6), limit: 10 },
        authenticate: async () => {
          if (random.chance(0.5)) await delay(random.below(20));
          return random.chance(0.1)
            ? undefined
            : { id: String(random.below(50)), namespace: String(random.below(3)) };
        },
      },
    });
    pool.on('connection', (connection) => {
      const end = random.below(4);
      if (end === 0) void connection.close(4000);
      else if (end === 1) connection.terminate();
      else if (end === 2) void pool.removeConnection(connection);
    });
    const live = async (): Promise<void> => {
      const client = await openTcp(port);
      client.resume();
      client.write(upgradeRequest());
      await delay(random.below(30));
      if (random.chance(0.5)) client.resetAndDestroy();
      else client.destroy();
    };
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 40 }, live));
    await expect.poll(() => [acceptor.clients, acceptor.pending], { timeout: 10_000 }).toEqual([0, 0]);
    await expect.poll(() => pool.stats().connections).toBe(0);
    expect(errors).toEqual([]);
    await openClient(url).catch(() => undefined);
  },
);
