import { once } from 'node:events';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { noteClosing } from '../support/closing-time.js';
import { Loopback } from '../support/loopback.js';

const READY_STATE_CLOSED = 3;

async function connectMany(loopback: Loopback, ids: readonly string[], namespace = 'default') {
  const pairs = [];
  for (const id of ids) pairs.push(await loopback.connect(id, namespace));
  return pairs;
}

test('a drain closes nobody within a second of the batch before', async () => {
  // The original closed everybody in one loop, whatever the rate: all clients came back at the same instant.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const pairs = await connectMany(loopback, ['1', '2', '3']);
  for (const { connection } of pairs) await pool.newConnection(connection);
  const closingTimes = pairs.map(({ socket }) => noteClosing(socket));

  await pool.drainConnections(2);
  for (const { client } of pairs) expect(await client.closed).toMatchObject({ code: 1012 });
  const [first, second, third] = (await Promise.all(closingTimes)).toSorted((a, b) => a - b) as [
    number,
    number,
    number,
  ];
  expect(third - first).toBeGreaterThanOrEqual(1_000);
  expect(second - first).toBeLessThan(third - first);
});

test('a drain resolves when the last socket is closed', async () => {
  // The original resolved as soon as it had asked: `await drain(); process.exit()` cut every closing handshake off.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const pairs = await connectMany(loopback, ['1', '2', '3']);
  for (const { connection } of pairs) await pool.newConnection(connection);

  const report = await pool.drainConnections(10, 'Restart');
  expect(pairs.map(({ socket }) => socket.readyState)).toEqual([3, 3, 3]);
  expect(report).toMatchObject({ closed: 3, terminated: 0, left: 0 });
  for (const { client } of pairs) expect(await client.closed).toEqual({ code: 1012, reason: 'Restart' });
});

test('a drain keeps a socket until it has closed, and terminates one that does not answer', async () => {
  // The original emptied its map when it had called close: a client that never answered stayed connected for ever,
  // and nothing in the process knew of it any more.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ closeTimeout: 200 });
  const { client, connection, socket } = await loopback.connect('deaf');
  await pool.newConnection(connection);
  client.socket.pause();

  const drained = pool.drainConnections(10);
  expect(pool.getConnection('default', 'deaf')).toBe(connection);
  expect(pool.stats().connections).toBe(1);
  await expect(drained).resolves.toMatchObject({ closed: 0, terminated: 1, left: 0 });
  expect(socket.readyState).toBe(READY_STATE_CLOSED);
  expect(pool.stats().connections).toBe(0);
});

test('a client that joins during a drain is told to come back later', async () => {
  // In the original, a connection that joined between the first and the last batch was wiped from the map together
  // with the others: open, but unreachable and never closed.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const early = await loopback.connect('early');
  await pool.newConnection(early.connection);

  const drained = pool.drainConnections(10);
  const late = await loopback.connect('late');
  const refusal = once(pool, 'refused');
  await pool.newConnection(late.connection);
  expect((await refusal)[1]).toMatchObject({ code: 'ERR_POOL_DRAINING' });
  expect(await late.client.closed).toMatchObject({ code: 1013 });
  await drained;
});
