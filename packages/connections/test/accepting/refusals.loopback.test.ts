import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, refuseUpgrade, type RefusalHeaders } from '../../src/index.js';
import {
  answerTo,
  anybody,
  openClient,
  openTcp,
  refusalOf,
  startAccepting,
  type AcceptingOptions,
} from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';
import { upgradeRequest } from '../support/raw-client.js';

failOnUncaught();

type Accept = NonNullable<AcceptingOptions['accept']>;

const broken = (): never => {
  throw new Error('broken');
};

/** The cause of a refusal, and how the client learns of it. */
const refusals: readonly (readonly [why: string, accept: Accept, status: number, closeCode: number])[] = [
  ['nobody', { authenticate: () => undefined }, 401, 4401],
  ['somebody who may not', { authenticate: () => ({ status: 403 }) }, 403, 4403],
  ['a status of its own', { authenticate: () => ({ status: 451 }) }, 451, 4451],
  ['a close code of its own', { authenticate: () => ({ status: 401, closeCode: 4999 }) }, 401, 4999],
  ['a redirection', { authenticate: () => ({ status: 307, headers: { Location: '/' } }) }, 307, 1011],
  ['an overload', { authenticate: () => ({ status: 503 }) }, 503, 1013],
  ['an error', { authenticate: broken }, 500, 1011],
  ['an error of the key', { maxPer: { key: broken, limit: 1 } }, 500, 1011],
  [
    'a key that is a promise',
    { maxPer: { key: (() => Promise.resolve('a')) as never, limit: 1 } },
    500,
    1011,
  ],
  ['a lookup without an answer', { authenticate: () => delay(1_000), timeout: 10 }, 408, 4408],
  ['a foreign origin', { origins: ['https://app.example'] }, 403, 4403],
];

describe.each(refusals)('a client that is refused for %s', (why, accept, status, closeCode) => {
  const headers = { origin: 'https://evil.example' };
  const options: Accept = { origins: ['*'], ...accept };

  test(`a client that is refused for ${why} gets the status, and counts as a refusal but not as a client`, async () => {
    const { url, acceptor } = await startAccepting({ accept: options });
    expect((await refusalOf(url, { headers })).status).toBe(status);
    expect(acceptor.clients).toBe(0);
    expect([...acceptor.refusals]).toEqual([[status, 1]]);
  });

  test(`a client that is refused for ${why} gets the close code with refuseWith: 'close', and counts as a refusal of its status`, async () => {
    const { url, acceptor, pool } = await startAccepting({ accept: { ...options, refuseWith: 'close' } });
    const client = await openClient(url, { headers });
    client.socket.send('nobody hears this');
    expect((await client.closed).code).toBe(closeCode);
    expect([acceptor.clients, pool.stats().connections, pool.stats().refused]).toEqual([0, 0, 0]);
    expect([...acceptor.refusals]).toEqual([[status, 1]]);
  });
});

// 401, 403, 404, 429 and 503 were in no event and in no counter.
test('an acceptor counts its refusals by status, and nobody else', async () => {
  let answer: unknown = { status: 403 };
  const { url, acceptor } = await startAccepting({
    accept: { authenticate: () => answer, path: (request) => request.url !== '/broken' || broken() },
  });
  expect(acceptor.refusals.size).toBe(0);
  for (let n = 0; n < 3; n++) await refusalOf(url);
  answer = false;
  await refusalOf(url);
  answer = anybody();
  await openClient(url);
  await refusalOf(`${url}/broken`);
  expect(acceptor.refusals).toEqual(
    new Map([
      [403, 3],
      [401, 1],
      [500, 1],
    ]),
  );
});

test(
  "a client that does not answer the close of refuseWith: 'close' is ended after two seconds",
  {
    timeout: 20_000,
  },
  async () => {
    const { port, webSocketServer } = await startAccepting({
      accept: { authenticate: () => false, refuseWith: 'close' },
    });
    const client = await openTcp(port);
    client.write(upgradeRequest());
    client.resume();
    await expect.poll(() => webSocketServer.clients.size).toBe(1);
    await expect.poll(() => webSocketServer.clients.size, { timeout: 5_000 }).toBe(0);
  },
);

test('the reason of a refusing close is that of the status by default', async () => {
  const { url } = await startAccepting({ accept: { authenticate: () => false, refuseWith: 'close' } });
  expect((await (await openClient(url)).closed).reason).toBe('Unauthorized');
});

test('a refusal may name its own close reason', async () => {
  const authenticate = () => ({ status: 403, closeCode: 1008, reason: 'Banned until noon' });
  const { url } = await startAccepting({ accept: { authenticate, refuseWith: 'close' } });
  expect(await (await openClient(url)).closed).toEqual({ code: 1008, reason: 'Banned until noon' });
});

describe('the pool emits an error and the client is closed with 1011', () => {
  const reject = (): Promise<never> => Promise.reject(new Error('async'));

  test.each<[string, Accept, string]>([
    ['createConnection throws', { createConnection: broken }, 'broken'],
    ['createConnection returns nothing', { createConnection: () => undefined as never }, 'createConnection'],
    ['createConnection is async', { createConnection: reject as never }, 'createConnection'],
    [
      'the connection cannot join its rooms',
      // The iterable can be read only once, so it is not checked before.
      { authenticate: () => ({ ...anybody(), rooms: [5].values() as never }) },
      'each of rooms',
    ],
  ])('the pool emits an error and the client is closed with 1011 when %s', async (_, accept, message) => {
    const { url, acceptor, errors } = await startAccepting({ accept });
    expect((await (await openClient(url)).closed).code).toBe(1011);
    expect(errors.some((error) => error.message.includes(message))).toBe(true);
    await expect.poll(() => acceptor.clients).toBe(0);
  });

  test('the pool emits an error and the client is closed with 1011 when the pool refuses the client', async () => {
    const other = await startAccepting();
    const { url, errors } = await startAccepting({
      accept: {
        createConnection: ((identity: { id: string }, socket: never) => {
          const connection = new Connection(identity.id, 'default', socket);
          void other.pool.newConnection(connection);
          return connection;
        }) as never,
      },
    });
    expect((await (await openClient(url)).closed).code).toBe(1011);
    expect(errors).toMatchObject([{ code: 'ERR_CONNECTION_IN_USE' }]);
  });
});

test('a client is cut off, and the error emitted, when the WebSocketServer hands out something that is not a socket', async () => {
  const { port, errors, acceptor } = await startAccepting({
    accept: {
      webSocketServer: { handleUpgrade: (_request, _socket, _head, onOpen) => onOpen({} as never, _request) },
    },
  });
  const client = await openTcp(port);
  client.write(upgradeRequest());
  expect(await answerTo(client)).toBe('');
  expect(errors).toMatchObject([{ message: expect.stringContaining('Expected a socket') as unknown }]);
  await expect.poll(() => acceptor.clients).toBe(0);
});

test('a verifyClient that throws breaks nothing', async () => {
  const { port, errors, acceptor } = await startAccepting({ webSocketServer: { verifyClient: broken } });
  const client = await openTcp(port);
  client.write(upgradeRequest());
  expect(await answerTo(client).catch(() => '')).toBe('');
  expect(errors).toMatchObject([{ message: 'broken' }]);
  await expect.poll(() => acceptor.clients).toBe(0);
});

test('a verifyClient that refuses later is not counted', async () => {
  const { url, acceptor } = await startAccepting({
    webSocketServer: {
      verifyClient: (_info, answer) => void setTimeout(() => answer(false, 409), 20),
    },
  });
  expect((await refusalOf(url)).status).toBe(409);
  await expect.poll(() => acceptor.clients).toBe(0);
});

describe('refuseUpgrade', () => {
  test.each([
    [200, {}, RangeError],
    [600, {}, RangeError],
    [401.5, {}, RangeError],
    ['401', {}, TypeError],
    [401, null, TypeError],
    [401, { 'X-A': 'a\r\nX-B: b' }, TypeError],
    [401, { 'X A': 'a' }, TypeError],
  ])('refuseUpgrade throws for status %s and headers %o, and writes nothing', (status, headers, type) => {
    const socket = new PassThrough();
    expect(() => refuseUpgrade(socket, status as number, headers as RefusalHeaders)).toThrow(type);
    expect(socket.read()).toBeNull();
    expect(socket.destroyed).toBe(false);
  });

  test('refuseUpgrade ignores headers that contradict the length of its response', async () => {
    // Two proxies read two Content-Length headers, or one and Transfer-Encoding, in two ways (RFC 9112 §6.3).
    const headers = {
      'content-length': 500,
      'Transfer-Encoding': 'chunked',
      Connection: 'keep-alive',
      'X-A': 1,
    };
    const { port } = await startAccepting({ accept: { authenticate: () => ({ status: 401, headers }) } });
    const client = await openTcp(port);
    client.write(upgradeRequest());
    expect((await answerTo(client)).split('\r\n')).toEqual([
      'HTTP/1.1 401 Unauthorized',
      'X-A: 1',
      'Connection: close',
      'Content-Length: 0',
      '',
      '',
    ]);
  });

  test('refuseUpgrade ends a client that keeps its side open after a second', async () => {
    const { port, server } = await startAccepting({ accept: { authenticate: () => false } });
    const client = await openTcp(port);
    client.write(upgradeRequest());
    expect(await answerTo(client)).toContain('401');
    const count = () =>
      new Promise((resolve) => server.getConnections((_, connections) => resolve(connections)));
    await expect.poll(count, { timeout: 5_000 }).toBe(0);
  });
});
