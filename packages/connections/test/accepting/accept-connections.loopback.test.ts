import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, type ReceivedMessage } from '../../src/index.js';
import {
  answerTo,
  anybody,
  clientFrame,
  openClient,
  openTcp,
  refusalOf,
  startAccepting,
} from '../support/accepting.js';
import { expectCollected } from '../support/garbage.js';
import { failOnUncaught } from '../support/no-uncaught.js';
import { upgradeRequest } from '../support/raw-client.js';

failOnUncaught();

describe.each([
  ['HTTP', false],
  ['HTTPS', true],
])('over %s', (protocol, isSecure) => {
  test(`a client that is authenticated at once over ${protocol} joins the pool`, async () => {
    const { url, pool } = await startAccepting({
      isSecure,
      accept: { authenticate: () => ({ id: 'a', namespace: 'n', data: { name: 'Ada' } }) },
    });
    const client = await openClient(url);
    const connection = pool.getConnection('n', 'a');
    expect(connection?.data).toEqual({ name: 'Ada' });
    await connection!.send('hello');
    expect(await client.exactly(1)).toEqual(['hello']);
  });

  test(`a client that is authenticated later over ${protocol} joins the pool, and nothing is lost`, async () => {
    const { url, pool } = await startAccepting({
      isSecure,
      accept: { authenticate: async () => (await delay(20), { id: 'a', namespace: 'n' }) },
    });
    const received: ReceivedMessage[] = [];
    pool.on('connection', (connection) => connection.on('message', (message) => received.push(message)));
    const client = await openClient(url);
    for (const message of ['1', '2', '3']) client.socket.send(message);
    await client.roundTrip();
    expect(received).toEqual(['1', '2', '3']);
  });

  test(`a client over ${protocol} gets the whole response of a refusal`, async () => {
    const { url } = await startAccepting({
      isSecure,
      accept: { authenticate: () => ({ status: 402, headers: { 'X-Reason': 'pay', 'X-List': ['a', 'b'] } }) },
    });
    const { status, headers } = await refusalOf(url);
    expect(status).toBe(402);
    expect(headers).toMatchObject({ 'x-reason': 'pay', 'x-list': 'a, b', 'content-length': '0' });
  });
});

test('the connection event fires right after the 101 is written, before the first message', async () => {
  const seen: string[] = [];
  const { url, pool } = await startAccepting({
    webSocketServer: { noServer: true },
    accept: {
      createConnection: (_identity, socket) => {
        seen.push('create');
        queueMicrotask(() => seen.push('microtask'));
        return new Connection('a', 'n', socket);
      },
    },
  });
  pool.on('connection', () => seen.push('connection'));
  await openClient(url);
  expect(seen).toEqual(['create', 'connection', 'microtask']);
});

describe('frames in the packet of the handshake', () => {
  test.each([
    ['at once', anybody],
    ['later', async () => (await delay(30), anybody())],
  ])(
    'frames in the packet of the handshake are delivered to a client that is authenticated %s',
    async (_, authenticate) => {
      const { port, pool } = await startAccepting({ accept: { authenticate } });
      const received: ReceivedMessage[] = [];
      pool.on('connection', (connection) => connection.on('message', (message) => received.push(message)));
      const client = await openTcp(port);
      client.write(Buffer.concat([Buffer.from(upgradeRequest()), clientFrame('one')]));
      await delay(10);
      client.write(clientFrame('two'));
      await expect.poll(() => received).toEqual(['one', 'two']);
    },
  );

  test('frames in the packet of the handshake do not keep a refusal from arriving whole', async () => {
    // Unread bytes make the server's end of the connection a reset, which overtakes the answer.
    const { port } = await startAccepting({
      accept: { authenticate: () => delay(30) },
    });
    const client = await openTcp(port);
    client.write(Buffer.concat([Buffer.from(upgradeRequest()), Buffer.alloc(200_000)]));
    expect(await answerTo(client)).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n[^]*\r\n\r\n$/);
  });

  test.each([
    ['malformed', Buffer.from([0xff, 0x80, 0, 0, 0, 0]), 1002],
    ['oversized', clientFrame('x'.repeat(100)), 1009],
  ])(
    'frames in the packet of the handshake that are %s end that connection alone',
    async (_, frame, code) => {
      const { port, url, pool, errors } = await startAccepting({ webSocketServer: { maxPayload: 50 } });
      const other = await openClient(url);
      const left = new Promise((resolve) => pool.once('disconnection', (...args) => resolve(args)));
      const client = await openTcp(port);
      client.write(Buffer.concat([Buffer.from(upgradeRequest()), frame]));
      expect(await answerTo(client, 'latin1')).toContain(String.fromCharCode(code >> 8, code & 0xff));
      client.end();
      expect(await left).toMatchObject({ 1: 1006 });
      expect(errors).toHaveLength(1);
      await other.roundTrip();
      expect(pool.stats().connections).toBe(1);
    },
  );
});

// The headers, cookies and first bytes of the request stayed in memory as long as the client was connected.
test('the request of a client that is connected is not retained', async () => {
  const refs: WeakRef<object>[] = [];
  const authenticate = (request: object) => {
    refs.push(new WeakRef(request));
    return Promise.resolve(anybody());
  };
  const { url, acceptor } = await startAccepting({ accept: { authenticate } });
  for (let i = 0; i < 5; i++) await openClient(url);
  expect(refs).toHaveLength(5);
  await expectCollected(refs);
  expect(acceptor.clients).toBe(5);
});
