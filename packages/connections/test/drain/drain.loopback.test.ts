import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type DrainReport } from '../../src/index.js';
import { noteClosing } from '../support/closing-time.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { connectMute } from '../support/raw-client.js';
import { busiestSecond, expectToAddUp, totalOf } from '../support/timed-pool.js';
import { watchUnhandled } from '../support/unhandled.js';

/** A pool with `count` real clients, distributed over the namespaces in turn. */
async function drainable(
  count: number,
  namespaces: readonly string[] = ['default'],
  pool = new ConnectionsPool(),
) {
  const loopback = await Loopback.start();
  const members: Awaited<ReturnType<Loopback['connect']>>[] = [];
  for (let index = 0; index < count; index++) {
    const member = await loopback.connect(String(index), namespaces[index % namespaces.length]);
    await pool.newConnection(member.connection);
    members.push(member);
  }
  return { loopback, pool, members, closes: members.map(({ client }) => client.closed) };
}

test('a drain at a rate closes no more clients than that within any second, over all namespaces', async () => {
  // The original closed each namespace separately, and all clients at the same instant.
  const rate = 5;
  const { pool, members } = await drainable(15, ['one', 'two']);
  const closingTimes = members.map(({ socket }) => noteClosing(socket));
  const report = await pool.drainConnections(rate);
  const closes = await Promise.all(members.map(({ client }) => client.closed));

  expect(busiestSecond(await Promise.all(closingTimes))).toBeLessThanOrEqual(rate);
  expect(new Set(closes.map(({ code, reason }) => `${code} ${reason}`))).toEqual(new Set(['1012 ']));
  expect(report).toMatchObject({ closed: 15, terminated: 0, left: 0 });
  expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
  expect(pool.connections.size).toBe(0);
});

test('the code and the reason of a drain reach every client', async () => {
  const { pool, members } = await drainable(3, ['one', 'two']);
  await pool.drainConnections(10, 'Closed by the server.', 1000);
  for (const { client } of members) {
    expect(await client.closed).toEqual({ code: 1000, reason: 'Closed by the server.' });
  }
});

test('messages that were sent before a drain arrive before its close', async () => {
  const { pool, members } = await drainable(2);
  const [one] = members;
  void one!.connection.send('private');
  void pool.broadcastMessage('default', 'to all');
  await pool.drainConnections();
  await Promise.all(members.map(({ client }) => client.closed));
  expect(members.map(({ client }) => client.inbox)).toEqual([['private', 'to all'], ['to all']]);
});

test('a pool is draining from the first instant of a drain, and still after it', async () => {
  const { pool } = await drainable(1);
  expect(pool.draining).toBe(false);
  const drained = pool.drainConnections();
  expect(pool.draining).toBe(true);
  await drained;
  expect(pool.draining).toBe(true);
});

test('newcomers are closed with 1013 during and after a drain, and nothing rejects', async () => {
  // `await pool.newConnection(connection)` in an async listener, as the README had it, rejected for one newcomer during
  // a drain: an unhandled rejection, which ended the process and cut off everybody who was still connected.
  const unhandled = watchUnhandled();
  const { loopback, pool } = await drainable(1);
  const refused: string[] = [];
  pool.on('refused', ({ id }, error) => refused.push(`${id} ${error.name} ${error.code}`));
  const [awaited, unawaited] = [await loopback.connect('awaited'), await loopback.connect('unawaited')];
  const drained = pool.drainConnections();

  void pool.newConnection(unawaited.connection);
  await expect(pool.newConnection(awaited.connection)).resolves.toBeUndefined();
  await drained;
  const late = await loopback.connect('late');
  void pool.newConnection(late.connection);

  for (const { client, connection } of [awaited, unawaited, late]) {
    expect(await client.closed).toEqual({ code: 1013, reason: 'Draining' });
    expect(connection.closed).toBe(true);
    expect(pool.getConnection('default', connection.id)).toBeUndefined();
  }
  const error = 'ConnectionsError ERR_POOL_DRAINING';
  expect(refused).toEqual([`unawaited ${error}`, `awaited ${error}`, `late ${error}`]);
  expect(pool.stats().refused).toBe(3);
  expect(await unhandled.settle()).toEqual([]);
});

test('clients that leave during a drain shorten it', async () => {
  const { pool, members } = await drainable(12);
  const [first, ...others] = members;
  const drained = pool.drainConnections(1);
  await first!.client.closed;
  for (const { client } of others) client.socket.close(1000);
  // If they had not left, the drain would take longer than a test may.
  expect(await drained).toMatchObject({ closed: 1, terminated: 0, left: 11 });
});

test('clients that never answer are terminated after the grace period, and counted as such', async () => {
  const { loopback, pool } = await drainable(2, ['default'], new ConnectionsPool({ closeTimeout: 100 }));
  const mutes = [await connectMute(loopback), await connectMute(loopback)];
  const closes: unknown[] = [];
  for (const [index, { socket }] of mutes.entries()) {
    const connection = new Connection(`mute ${index}`, 'default', socket);
    connection.on('close', (code) => closes.push(code));
    await pool.newConnection(connection);
  }
  const report = await pool.drainConnections();
  expect(report).toMatchObject({ closed: 2, terminated: 2, left: 0 });
  expect(closes).toEqual([1006, 1006]);
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, terminated: 2 });
});

test('a client that resets its connection instead of answering is in the report as closed', async () => {
  const { loopback, pool } = await drainable(1);
  const { client, socket } = await connectMute(loopback);
  await pool.newConnection(new Connection('reset', 'default', socket));
  const drained = pool.drainConnections();
  client.resetAndDestroy();
  const report = await drained;
  expect(report).toMatchObject({ terminated: 0 });
  expect(totalOf(report)).toBe(2);
});

test('a drain resolves when the last socket has closed, not before', async () => {
  const { loopback, pool, members } = await drainable(3);
  const [slow] = members;
  slow!.client.socket.pause();
  let report: DrainReport | undefined;
  const drained = pool.drainConnections().then((result) => (report = result));

  for (const { client } of members.slice(1)) await client.closed;
  await (await loopback.pair()).client.roundTrip();
  expect(report).toBeUndefined();

  slow!.client.socket.resume();
  await drained;
  expect(members.map(({ socket }) => socket.readyState)).toEqual(members.map(() => WebSocket.CLOSED));
  expect(report).toMatchObject({ closed: 3 });
});

test('the drain event carries the report of the drain', async () => {
  const { pool } = await drainable(1);
  const event = once(pool, 'drain');
  const report = await pool.drainConnections();
  expect(await event).toEqual([report]);
});

// These tests wait for drains, so they run at the same time.
describe.concurrent('drains', () => {
  test(
    'a drain in small slices closes no more clients than its rate within any second, each with the reason',
    { timeout: 15_000 },
    async () => {
      const rate = 20;
      const { pool, members, closes } = await drainable(50, ['even', 'odd']);
      const closingTimes = members.map(({ socket }) => noteClosing(socket));
      const report = await pool.drainConnections({ maxPerSecond: rate, interval: 100, reason: 'Deploy' });
      const ends = (await Promise.all(closes)).map(({ code, reason }) => `${code} ${reason}`);
      expect(new Set(ends)).toEqual(new Set(['1012 Deploy']));
      expect(busiestSecond(await Promise.all(closingTimes))).toBeLessThanOrEqual(rate);
      expectToAddUp(report, { even: 25, odd: 25 });
      expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
    },
  );

  test('a deadline empties the pool and terminates the clients that do not answer', async () => {
    const { loopback, pool, closes } = await drainable(10);
    const { socket } = await connectMute(loopback);
    await pool.newConnection(new Connection('mute', 'mute', socket));
    const report = await pool.drainConnections({ deadline: 800, interval: 20 });
    expect(report).toMatchObject({ closed: 10, terminated: 1, left: 0 });
    expect(report.tookMs).toBeGreaterThanOrEqual(800);
    expect(new Set((await Promise.all(closes)).map(({ code }) => code))).toEqual(new Set([1012]));
    expect(pool.connections.size).toBe(0);
  });

  test('an aborted drain leaves the others connected, and newcomers join them', async () => {
    const { loopback, pool, members } = await drainable(3, ['even', 'odd']);
    const controller = new AbortController();
    const drained = pool.drainConnections({ maxPerSecond: 1, signal: controller.signal });
    await members[0]!.client.closed;
    controller.abort(new Error('rolled back'));
    await expect(drained).rejects.toThrow('rolled back');
    const newcomer = await loopback.connect('new', 'even');
    await pool.newConnection(newcomer.connection);
    expect(await pool.broadcastMessage('even', 'still here')).toMatchObject({ recipients: 2, sent: 2 });
    expect(await newcomer.client.exactly(1)).toEqual(['still here']);
    expect(await members[2]!.client.exactly(1)).toEqual(['still here']);
    await members[1]!.client.roundTrip();
  });
});

const READY_STATE_CLOSED = 3;

test('a drain at two per second closes the third client a second after the first', async () => {
  // The original closed everybody in one loop, whatever the rate: all clients came back at the same instant.
  const { pool, members: pairs } = await poolOf(3);
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
  // The original resolved as soon as it had sent the close frames: `await drain(); process.exit()` cut off every
  // closing handshake.
  const { pool, members: pairs } = await poolOf(3);

  const report = await pool.drainConnections(10, 'Restart');
  expect(pairs.map(({ socket }) => socket.readyState)).toEqual([3, 3, 3]);
  expect(report).toMatchObject({ closed: 3, terminated: 0, left: 0 });
  for (const { client } of pairs) expect(await client.closed).toEqual({ code: 1012, reason: 'Restart' });
});

test('a drain keeps a socket until it has closed, and terminates one that does not answer', async () => {
  // The original emptied its map after it had called close: a client that never answered stayed connected for ever,
  // unknown to the whole process.
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
  // In the original, a connection that joined between the first and the last batch was removed from the map together
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
