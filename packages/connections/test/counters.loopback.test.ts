import type { Socket } from 'node:net';
import type { ServerOptions } from 'ws';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../src/index.js';
import { Loopback, type Pair } from './support/loopback.js';

test('stats agree with what the clients have seen', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const clients = [];
  for (const [id, namespace] of [
    ['1', 'one'],
    ['2', 'one'],
    ['3', 'two'],
  ] as const) {
    const { client, connection } = await loopback.connect(id, namespace);
    await pool.newConnection(connection);
    clients.push(client);
  }
  let bytes = 0;
  for (const client of clients) {
    // The header of each of these frames has 2 bytes.
    client.socket.on('message', (data: Buffer) => (bytes += data.length + 2));
  }
  void pool.broadcastMessage('one', 'to one');
  void pool.broadcastMessage('one', 'to one again');
  void pool.broadcastJsonMessage('two', { to: 'two' });
  void pool.broadcastMessage('nobody', 'x');
  await pool.send('one', '1', Buffer.from('private'));
  await pool.send('one', 'nobody', 'x');
  await clients[0]!.exactly(3);
  await clients[1]!.exactly(2);
  await clients[2]!.exactly(1);
  expect(pool.stats()).toMatchObject({
    connections: 3,
    namespaces: 2,
    messagesSent: 6,
    bytesSent: bytes,
    wireBytesSent: bytes,
    broadcasts: 3,
    dropped: 0,
    errors: 0,
  });
  expect(pool.stats().writes).toBeGreaterThanOrEqual(3);
  expect(pool.stats().writes).toBeLessThanOrEqual(6);

  const duplicate = await loopback.connect('1', 'one');
  await pool.newConnection(duplicate.connection);
  await duplicate.client.closed;
  pool.getConnection('two', '3')!.terminate();
  await clients[2]!.closed;
  await pool.drainConnections();
  expect(pool.stats()).toMatchObject({
    connections: 0,
    namespaces: 0,
    refused: 1,
    terminated: 1,
    drains: 1,
    errors: 0,
  });
});

const TEXT = 'account 4711 balance 1000 EUR; '.repeat(100);

/** Bytes that the client's TCP socket has received. */
const receivedBy = ({ client }: Pair): number =>
  (client.socket as unknown as { _socket: Socket })._socket.bytesRead;

test.each<[string, ServerOptions, ConnectionsPoolOptions]>([
  ['a history', { perMessageDeflate: true }, { compression: { history: true } }],
  ['no context takeover', { perMessageDeflate: { serverNoContextTakeover: true, threshold: 100 } }, {}],
])('wireBytesSent equals the bytes on the wire with %s', async (_, serverOptions, poolOptions) => {
  // `bytesSent` counts bytes before compression: an egress panel was wrong by a factor of 34.
  const loopback = await Loopback.start(serverOptions);
  const pool = new ConnectionsPool(poolOptions);
  const pairs = [await loopback.pair(), await loopback.pair()];
  for (const [id, { socket }] of pairs.entries()) {
    await pool.newConnection(new Connection(String(id), 'default', socket));
  }
  for (const { client } of pairs) await client.roundTrip();
  const before = pairs.map(receivedBy);
  for (let n = 0; n < 10; n++) await pool.broadcastMessage('default', `${n} ${TEXT}`);
  for (const { client } of pairs) for (let n = 0; n < 10; n++) await client.next();
  const received = pairs.map((pair, index) => receivedBy(pair) - before[index]!);
  const { bytesSent, wireBytesSent } = pool.stats();
  expect(wireBytesSent).toBe(received[0]! + received[1]!);
  expect(wireBytesSent).toBeLessThan(bytesSent / 10);
});

test('wireBytesSent counts messages that the socket compresses by itself at their uncompressed size', async () => {
  // `ws` does not report the compressed size of a message.
  const loopback = await Loopback.start({ perMessageDeflate: { threshold: 100 } });
  const pool = new ConnectionsPool();
  const { client, socket } = await loopback.pair();
  await pool.newConnection(new Connection('1', 'default', socket));
  await pool.broadcastMessage('default', TEXT);
  expect(await client.exactly(1)).toEqual([TEXT]);
  const { bytesSent, wireBytesSent } = pool.stats();
  expect(wireBytesSent).toBe(bytesSent);
});
