import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { MemorySocket } from '../support/memory-socket.js';
import { runs } from '../support/runs.js';
import {
  expectPace,
  TimedSocket,
  PromptSocket,
  timedPool,
  runDrain,
  busiestSecond,
  mostAtOnce,
  expectToAddUp,
} from '../support/timed-pool.js';

useFakeClock();

test('25 connections at 10 per second leave as 10 now, 10 after a second and 5 after two', async () => {
  const { pool, closesMs } = timedPool(25, { namespaces: 3 });
  const drained = pool.drainConnections(10);
  expect(closesMs()).toHaveLength(10);
  await vi.advanceTimersByTimeAsync(999);
  expect(closesMs()).toHaveLength(10);
  await vi.advanceTimersByTimeAsync(101);
  expect(closesMs()).toHaveLength(20);
  await vi.advanceTimersByTimeAsync(899);
  expect(closesMs()).toHaveLength(20);
  await vi.advanceTimersByTimeAsync(201);
  expect(closesMs()).toHaveLength(25);

  const report = await drained;
  expect(report).toMatchObject({ closed: 25, terminated: 0, left: 0 });
  expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
  expect(report.tookMs).toBeLessThan(2_200);
  expect(busiestSecond(closesMs())).toBeLessThanOrEqual(10);
  expect(vi.getTimerCount()).toBe(0);
});

test.each([
  [1, 1, 1],
  [10, 10, 1],
  [11, 10, 2],
  [20, 10, 2],
  [3, 1, 3],
  [100, 100, 1],
])('%i connections at %i per second leave in %i whole batches', async (count, rate, batches) => {
  const { pool, sockets } = timedPool(count, { namespaces: 7 });
  const drained = pool.drainConnections(rate);
  await vi.runAllTimersAsync();
  await drained;
  const instants = new Set(sockets.map(({ closedAtMs }) => closedAtMs));
  expect(instants.size).toBe(batches);
});

test('connections that leave while a batch is awaited make room for the ones after them', async () => {
  const { pool, sockets, closesMs } = timedPool(30, { namespaces: 2 });
  const drained = pool.drainConnections(10);
  const waiting = sockets.filter(({ closedAtMs }) => closedAtMs === undefined);
  for (const socket of waiting.slice(0, 10)) socket.end(1001);
  await vi.advanceTimersByTimeAsync(1_100);
  expect(closesMs()).toHaveLength(20);
  const report = await drained;
  expect(report).toMatchObject({ closed: 20, terminated: 0, left: 10 });
  expect(report.tookMs).toBeLessThan(1_100);
});

test('a drain ends with the last connection, without waiting for the next batch', async () => {
  const { pool, sockets } = timedPool(20);
  const drained = pool.drainConnections(10);
  await vi.advanceTimersByTimeAsync(10);
  for (const socket of sockets) socket.end(1001);
  const report = await drained;
  expect(report).toMatchObject({ closed: 10, terminated: 0, left: 10 });
  expect(report.tookMs).toBeLessThan(1_000);
  expect(vi.getTimerCount()).toBe(0);
});

test('a drain that only awaits the last answers wakes up at most once a second', async () => {
  const pool = new ConnectionsPool();
  await pool.newConnection(new Connection('1', 'default', new MemorySocket(false)));
  const setTimer = vi.spyOn(globalThis, 'setTimeout');
  const drained = pool.drainConnections(10);
  await vi.advanceTimersByTimeAsync(9_000);
  expect(setTimer.mock.calls.length).toBeLessThanOrEqual(10);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await drained).toMatchObject({ terminated: 1 });
});

test('connections that are already closing count as left and use nothing of the rate', async () => {
  const { pool, sockets } = timedPool(3);
  // Their peers have begun to close; the close events are still to come.
  for (const socket of sockets.slice(0, 2)) socket.readyState = 2;
  const drained = pool.drainConnections(1);
  expect(sockets.map(({ closes }) => closes.length)).toEqual([0, 0, 1]);
  for (const socket of sockets.slice(0, 2)) socket.end(4000);
  expect(await drained).toMatchObject({ closed: 1, terminated: 0, left: 2 });
});

test('an empty pool is drained at once', async () => {
  const pool = new ConnectionsPool();
  expect(await pool.drainConnections()).toMatchObject({ closed: 0, terminated: 0, left: 0, tookMs: 0 });
  expect(pool.draining).toBe(true);
});

test.each([
  [1, 100, 5],
  [1, 1_000, 4],
  [7, 100, 30],
  [7, 1_000, 30],
  [15, 100, 60],
  [15, 10, 60],
])('at %i per second in steps of %d ms no more than that leave in any second', expectPace);

test.each([
  [1_000, 100, 100],
  [2_000, 10, 20],
  [2_000, 100, 200],
  [15, 100, 2],
  [7, 100, 1],
  [50, 1_000, 50],
])(
  'a drain of %i per second in steps of %i ms closes %i at a time',
  async (maxPerSecond, interval, slice) => {
    const count = Math.min(2 * maxPerSecond, runs({ quick: 3 * slice, ci: Infinity }));
    const { pool, closesMs } = timedPool(count);
    const drained = pool.drainConnections({ maxPerSecond, interval });
    expect(closesMs()).toHaveLength(slice);
    await runDrain(drained, 10_000);
    expect(mostAtOnce(closesMs())).toBe(slice);
  },
);

test('a drain closes 1,000 per second by default, 100 at a time, with 1012 and no reason', async () => {
  const { pool, sockets, closesMs } = timedPool(150);
  const drained = pool.drainConnections({});
  expect(closesMs()).toHaveLength(100);
  await vi.advanceTimersByTimeAsync(99);
  expect(closesMs()).toHaveLength(100);
  await vi.advanceTimersByTimeAsync(11);
  expect(closesMs()).toHaveLength(150);
  await drained;
  expect(sockets[0]!.closes).toEqual([{ code: 1012, reason: '' }]);
});

test('the code and the reason of a drain reach the sockets', async () => {
  const { pool, sockets } = timedPool(1);
  await pool.drainConnections({ code: 4321, reason: 'Moved' });
  expect(sockets[0]!.closes).toEqual([{ code: 4321, reason: 'Moved' }]);
});

test('a drain is over at once if all sockets close at once', async () => {
  const { pool } = timedPool(5, { newSocket: () => new PromptSocket() });
  const report = await runDrain(pool.drainConnections({}), 1_000);
  expect(report).toMatchObject({ closed: 5, terminated: 0, left: 0, tookMs: 0 });
});

test('a drain leaves no timer', async () => {
  const { pool } = timedPool(20);
  await runDrain(pool.drainConnections({ maxPerSecond: 10 }), 5_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(vi.getTimerCount()).toBe(0);
});

test('the report has the counts of each namespace, and these add up', async () => {
  const pool = new ConnectionsPool();
  const join = (namespace: string, id: string, socket = new TimedSocket()): TimedSocket => {
    void pool.newConnection(new Connection(id, namespace, socket));
    return socket;
  };
  for (const id of ['1', '2', '3']) join('answers', id);
  for (const id of ['1', '2']) join('silent', id, new TimedSocket(false));
  const [leaver] = [join('mixed', '1'), join('mixed', '2', new TimedSocket(false)), join('mixed', '3')];
  const drained = pool.drainConnections({ maxPerSecond: 2, grace: 500 });
  leaver.end(1001);
  // It joins during the drain and is refused: it does not count.
  join('__proto__', '1');
  const report = await runDrain(drained, 20_000);
  expectToAddUp(report!, { answers: 3, silent: 2, mixed: 3 });
  expect(report).toMatchObject({ closed: 4, terminated: 3, left: 1 });
  expect(report!.namespaces.get('answers')).toEqual({ closed: 3, terminated: 0, left: 0 });
  expect(report!.namespaces.get('silent')).toEqual({ closed: 0, terminated: 2, left: 0 });
  expect(report!.namespaces.get('mixed')).toEqual({ closed: 1, terminated: 1, left: 1 });
});

test('one rate holds for all namespaces of a drain together', async () => {
  // The original drained each namespace separately: a thousand namespaces meant a thousand times the rate.
  const { pool, closesMs } = timedPool(9, { namespaces: 3 });
  const drained = pool.drainConnections(3);
  await vi.advanceTimersByTimeAsync(0);
  expect(closesMs()).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(999);
  expect(closesMs()).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(101);
  expect(closesMs()).toHaveLength(6);
  await vi.advanceTimersByTimeAsync(1_100);
  expect(closesMs()).toHaveLength(9);
  await expect(drained).resolves.toMatchObject({ closed: 9, terminated: 0, left: 0 });
});

test('JSON.stringify of a report shows the counts of each namespace', async () => {
  // The counts are in a map, which JSON turned into `{}`: a log of the report lost them.
  const { pool } = timedPool(3, { namespaces: 2 });
  const report = await runDrain(pool.drainConnections({}), 1_000);
  expect(JSON.parse(JSON.stringify(report))).toMatchObject({
    closed: 3,
    namespaces: { n0: { closed: 2, terminated: 0, left: 0 }, n1: { closed: 1, terminated: 0, left: 0 } },
  });
});

test('messages that arrive before a drained socket has closed are delivered', async () => {
  // In every other case, closing ignores messages. A drain is not the client's doing, and the client has not seen the
  // close yet.
  const pool = new ConnectionsPool();
  const socket = new MemorySocket(false);
  const connection = new Connection('1', 'default', socket);
  const messages: unknown[] = [];
  connection.on('message', (message) => messages.push(message));
  await pool.newConnection(connection);
  const drained = pool.drainConnections({});
  expect(connection.closed).toBe(true);
  socket.emit('message', Buffer.from('on its way'), false);
  socket.end(1012);
  await runDrain(drained, 1_000);
  expect(messages).toEqual(['on its way']);
  expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 0 });
});

/** Sockets that a drain is asked to close besides the connections of the pool. */
describe('sockets that are in no pool', () => {
  test('sockets in no pool are closed last, under the same limit, with the same code, and are not in the report', async () => {
    const { pool, sockets, closesMs } = timedPool(2);
    const strangers = [new TimedSocket(), new TimedSocket()];
    const options = { maxPerSecond: 1, interval: 1_000, code: 4000, reason: 'Deploy', sockets: strangers };
    const report = await runDrain(pool.drainConnections(options), 10_000);
    const times = strangers.map(({ closedAtMs }) => closedAtMs!);
    expect(busiestSecond([...closesMs(), ...times])).toBe(1);
    expect(Math.min(...times)).toBeGreaterThan(Math.max(...closesMs()));
    for (const { closes } of [...sockets, ...strangers]) {
      expect(closes).toEqual([{ code: 4000, reason: 'Deploy' }]);
    }
    expectToAddUp(report!, { n0: 2 });
    expect(report).toMatchObject({ closed: 2, terminated: 0, left: 0 });
    expect(report!.tookMs).toBeGreaterThanOrEqual(3_000);
  });

  test('sockets in no pool are terminated after the grace period if they do not answer', async () => {
    const { pool } = timedPool(0);
    const stranger = new TimedSocket(false);
    const report = await runDrain(pool.drainConnections({ grace: 700, sockets: [stranger] }), 10_000);
    expect(report).toMatchObject({ closed: 0, terminated: 0, left: 0 });
    expect(stranger.terminatedAtMs! - stranger.closedAtMs!).toBeGreaterThanOrEqual(700);
    expect(stranger.terminatedAtMs! - stranger.closedAtMs!).toBeLessThanOrEqual(1_000);
  });

  test('sockets in no pool are closed through their connection if they have one that has not joined', async () => {
    const { pool } = timedPool(1);
    const stranger = new TimedSocket();
    const connection = new Connection('waits', 'lobby', stranger);
    const closes: unknown[] = [];
    connection.on('close', (code) => closes.push(code));
    await runDrain(pool.drainConnections({ sockets: [stranger] }), 10_000);
    expect(closes).toEqual([1012]);
    expect(stranger.closes).toEqual([{ code: 1012, reason: '' }]);
  });

  test('sockets that belong to a connection of a pool are left alone', async () => {
    const { pool, sockets } = timedPool(2);
    const other = timedPool(1);
    const named = [...sockets, ...other.sockets];
    const report = await runDrain(pool.drainConnections({ sockets: named }), 10_000);
    expect(report).toMatchObject({ closed: 2, left: 0 });
    expect(sockets.map(({ closes }) => closes.length)).toEqual([1, 1]);
    expect(other.closesMs()).toEqual([]);
  });
});
