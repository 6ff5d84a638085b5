import { getEventListeners } from 'node:events';
import { expect, test, vi } from 'vitest';
import type { ConnectionsPool } from '../../src/index.js';
import { Connection, type DrainReport } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { TimedSocket, timedPool, runDrain } from '../support/timed-pool.js';

useFakeClock();

const newcomer = (id: string): Connection => new Connection(id, 'n0', new TimedSocket());

test('an aborted drain rejects with the reason, closes nobody else, and the pool takes newcomers again', async () => {
  const { pool, closesMs } = timedPool(30);
  const controller = new AbortController();
  const drained = pool.drainConnections({ maxPerSecond: 10, signal: controller.signal });
  const outcome = expect(drained).rejects.toBe('stay');
  await vi.advanceTimersByTimeAsync(1_000);
  const before = closesMs().length;
  const refused: string[] = [];
  pool.on('refused', ({ id }, { code }) => refused.push(`${id} ${code}`));
  await pool.newConnection(newcomer('early'));
  expect(refused).toEqual(['early ERR_POOL_DRAINING']);

  controller.abort('stay');
  await outcome;
  expect(pool.draining).toBe(false);
  await pool.newConnection(newcomer('late'));
  expect(pool.getConnection('n0', 'late')).toBeDefined();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(closesMs()).toHaveLength(before);
  expect(pool.stats()).toMatchObject({ connections: 30 - before + 1, drains: 1 });
  expect(vi.getTimerCount()).toBe(0);

  const report = await runDrain(pool.drainConnections({}), 5_000);
  expect(report).toMatchObject({ closed: 30 - before + 1 });
});

test('a drain with an aborted signal closes nothing, and the pool keeps taking newcomers', async () => {
  const { pool, closesMs } = timedPool(3);
  await expect(pool.drainConnections({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
  expect(pool.draining).toBe(false);
  expect(closesMs()).toEqual([]);
  await pool.newConnection(newcomer('new'));
  expect(pool.stats()).toMatchObject({ connections: 4, drains: 0, refused: 0 });
});

test('a drain that is aborted without a reason rejects with an AbortError', async () => {
  const { pool } = timedPool(1);
  await expect(pool.drainConnections({ signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: 'AbortError',
  });
});

test('a drain that is done leaves no listener on its signal', async () => {
  const { pool } = timedPool(3);
  const controller = new AbortController();
  const drained = pool.drainConnections({ signal: controller.signal });
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  await runDrain(drained, 1_000);
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  controller.abort();
  expect(pool.draining).toBe(true);
});

test('a drain that is aborted while the last answers are awaited still grants the grace period', async () => {
  const { pool, sockets } = timedPool(2, { newSocket: () => new TimedSocket(false) });
  const controller = new AbortController();
  const drained = pool.drainConnections({ grace: 500, signal: controller.signal });
  const outcome = expect(drained).rejects.toBe('stay');
  await vi.advanceTimersByTimeAsync(150);
  controller.abort('stay');
  await outcome;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sockets.map(({ readyState }) => readyState)).toEqual([3, 3]);
  expect(pool.stats()).toMatchObject({ connections: 0, terminated: 2 });
});

test('a drain that is aborted in onProgress ends at once', async () => {
  // A drain that was not asleep missed the wake-up: it noticed the abort only when the next slice was due.
  const { pool, closesMs } = timedPool(3);
  const controller = new AbortController();
  const drained = pool.drainConnections({
    maxPerSecond: 1,
    interval: 1_000,
    signal: controller.signal,
    onProgress: () => controller.abort('enough'),
  });
  let isOver = false;
  const outcome = expect(drained.finally(() => (isOver = true))).rejects.toBe('enough');
  await vi.advanceTimersByTimeAsync(1);
  expect(isOver).toBe(true);
  await outcome;
  expect(closesMs()).toHaveLength(1);
});

const newcomerOf = (pool: ConnectionsPool): Promise<boolean> => {
  const connection = new Connection('newcomer', 'n0', new TimedSocket());
  return pool.newConnection(connection).then(() => !connection.closed);
};

test('a second drain joins the running one, which keeps its own code and pace', async () => {
  // The second call was refused, so two callers who both shut down had to know of each other.
  const { pool, sockets, closesMs } = timedPool(4);
  const drained = pool.drainConnections(2, 'first', 4000);
  const joined = pool.drainConnections(4, 'second', 4001);
  expect(closesMs()).toHaveLength(2);
  const report = await runDrain(drained, 5_000);
  expect(report).toMatchObject({ closed: 4 });
  expect(await joined).toBe(report);
  for (const { closes } of sockets) expect(closes).toEqual([{ code: 4000, reason: 'first' }]);
  expect(pool.stats().drains).toBe(1);
  expect(await pool.drainConnections()).toMatchObject({ closed: 0, terminated: 0, left: 0 });
});

test('the arguments of a drain that joins are checked', async () => {
  const { pool, closesMs } = timedPool(2);
  const drained = pool.drainConnections(1);
  await expect(pool.drainConnections(0)).rejects.toThrow(RangeError);
  await expect(pool.drainConnections({ code: 1006 })).rejects.toThrow(RangeError);
  expect(closesMs()).toHaveLength(1);
  expect(await runDrain(drained, 5_000)).toMatchObject({ closed: 2 });
});

test('the signal of a drain that joins rejects that call alone', async () => {
  const { pool } = timedPool(20);
  const controller = new AbortController();
  const drained = pool.drainConnections({ maxPerSecond: 10 });
  const joined = pool.drainConnections({ signal: controller.signal });
  const outcome = expect(joined).rejects.toBe('no longer');
  await vi.advanceTimersByTimeAsync(500);
  controller.abort('no longer');
  await outcome;
  expect(pool.draining).toBe(true);
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  expect(await runDrain(drained, 5_000)).toMatchObject({ closed: 20 });
});

test('a drain that joins with an aborted signal rejects at once', async () => {
  const { pool } = timedPool(2);
  const drained = pool.drainConnections(1);
  await expect(pool.drainConnections({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
  expect(await runDrain(drained, 5_000)).toMatchObject({ closed: 2 });
});

test('a drain that has joined goes on with its own plan when the running one is aborted', async () => {
  // Otherwise the abort of another caller would have cancelled the shutdown of the process.
  const { pool, sockets } = timedPool(4);
  const controller = new AbortController();
  const first = pool.drainConnections({ maxPerSecond: 1, code: 4000, signal: controller.signal });
  const outcome = expect(first).rejects.toBe('stay');
  const joined = pool.drainConnections({ maxPerSecond: 10, code: 4001 });
  await vi.advanceTimersByTimeAsync(10);
  controller.abort('stay');
  await outcome;
  await vi.advanceTimersByTimeAsync(10);
  expect(pool.draining).toBe(true);
  expect(await newcomerOf(pool)).toBe(false);
  expect(await runDrain(joined, 5_000)).toMatchObject({ closed: 3, terminated: 0, left: 0 });
  expect(sockets.map(({ closes }) => closes[0]!.code)).toEqual([4000, 4001, 4001, 4001]);
  expect(pool.stats().drains).toBe(2);
});

test('the second of two drains that have joined an aborted drain joins the first', async () => {
  const { pool, sockets } = timedPool(4);
  const controller = new AbortController();
  const first = pool.drainConnections({ maxPerSecond: 1, code: 4000, signal: controller.signal });
  const outcome = expect(first).rejects.toBe('stay');
  const [second, third] = [pool.drainConnections({ code: 4001 }), pool.drainConnections({ code: 4002 })];
  controller.abort('stay');
  await outcome;
  const report = await runDrain(second, 5_000);
  expect(report).toMatchObject({ closed: 3 });
  expect(await third).toBe(report);
  expect(sockets.map(({ closes }) => closes[0]!.code)).toEqual([4000, 4001, 4001, 4001]);
});

test('the sockets that a joining drain names are closed with the others', async () => {
  const { pool } = timedPool(2);
  const stranger = new TimedSocket();
  const drained = pool.drainConnections({ maxPerSecond: 1, interval: 1_000, code: 4000 });
  const joined = pool.drainConnections({ sockets: [stranger] });
  expect(await runDrain(joined, 10_000)).toMatchObject({ closed: 2 });
  await drained;
  expect(stranger.closes).toEqual([{ code: 4000, reason: '' }]);
});

test('a drain that is called in onProgress joins the one that calls it', async () => {
  const { pool } = timedPool(3);
  const joined: Promise<DrainReport>[] = [];
  const onProgress = (): void => void joined.push(pool.drainConnections({}));
  const report = await runDrain(pool.drainConnections({ onProgress }), 1_000);
  expect(joined).not.toEqual([]);
  for (const each of joined) expect(await each).toBe(report);
  expect(pool.stats().drains).toBe(1);
});

test.each([{}, { deadline: 500 }])(
  'a drain does not wait for a socket that its owner takes back (%o)',
  async (options) => {
    // Such a connection emits no `close`: the drain never ended.
    const { pool } = timedPool(0);
    const connections = ['1', '2'].map((id) => new Connection(id, 'n0', new TimedSocket(false)));
    const sockets = connections.map(({ connection }) => connection);
    const drained = pool.drainConnections({ sockets, grace: 10_000, ...options });
    await vi.advanceTimersByTimeAsync(50);
    for (const connection of connections) connection.release();
    expect(await runDrain(drained, 1_000)).toMatchObject({ closed: 0, terminated: 0 });
  },
);

test('a drain that replaces an aborted one closes the sockets of an iterator that can be read only once', async () => {
  const { pool } = timedPool(1, { newSocket: () => new TimedSocket(false) });
  const controller = new AbortController();
  const aborted = pool.drainConnections({ signal: controller.signal });
  const socket = new TimedSocket();
  const list = [socket].values();
  const drained = pool.drainConnections({ sockets: list, grace: 100 });
  controller.abort('stay');
  await expect(aborted).rejects.toBe('stay');
  await runDrain(drained, 1_000);
  expect(socket.closedAtMs).toBeDefined();
});
