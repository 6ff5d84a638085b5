import { expect, test, vi } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import {
  TimedSocket,
  StuckSocket,
  timedPool,
  runDrain,
  busiestSecond,
  mostAtOnce,
  expectToAddUp,
} from '../support/timed-pool.js';

useFakeClock();

test.each([
  [1, 1_000],
  [10, 1_000],
  [250, 5_000],
  [100, 90_000],
])('%i connections are all asked in time and gone before a deadline of %i ms', async (count, deadline) => {
  const { pool, closesMs } = timedPool(count);
  const startMs = performance.now();
  const report = await runDrain(pool.drainConnections({ deadline }), 2 * deadline);
  expect(report).toMatchObject({ closed: count, terminated: 0, left: 0 });
  expect(report!.tookMs).toBeLessThanOrEqual(deadline);
  // At most half of the time is reserved for answers. The rest is used: not all leave at once.
  if (count > 1) {
    expect(Math.max(...closesMs()) - startMs).toBeGreaterThanOrEqual(deadline / 2 - 200);
    expect(busiestSecond(closesMs())).toBeLessThanOrEqual(Math.max(10, (count * 2.5 * 1_000) / deadline));
  }
});

test('no connection is asked to close in the last `grace` ms before the deadline', async () => {
  const { pool, closesMs } = timedPool(100);
  const startMs = performance.now();
  await runDrain(pool.drainConnections({ deadline: 10_000, grace: 1_000 }), 20_000);
  expect(Math.max(...closesMs()) - startMs).toBeLessThanOrEqual(9_000);
  expect(Math.max(...closesMs()) - startMs).toBeGreaterThanOrEqual(8_500);
});

test('connections that leave by themselves slow down the pace of a deadline', async () => {
  const { pool, sockets, closesMs } = timedPool(400);
  const startMs = performance.now();
  const drained = pool.drainConnections({ deadline: 20_000, interval: 1_000, grace: 1_000 });
  await vi.advanceTimersByTimeAsync(5_000);
  const waiting = sockets.filter(({ closedAtMs }) => closedAtMs === undefined);
  const leaving = waiting.slice(0, Math.floor(waiting.length * 0.9));
  for (const socket of leaving) socket.end(1001);
  const report = await runDrain(drained, 40_000);
  expect(report).toMatchObject({ left: leaving.length, terminated: 0 });
  const last = closesMs().filter((atMs) => atMs > startMs + 5_000);
  // About 30 are closed in the 14 s that remain. Before, it was 20 per second.
  expect(busiestSecond(last)).toBeLessThanOrEqual(6);
  expect(Math.max(...last) - startMs).toBeGreaterThanOrEqual(17_000);
});

const IN_TEN_SECONDS = { deadline: 10_000, interval: 1_000 };

test('the turns are spread evenly over the time to the deadline', async () => {
  const { pool, closesMs } = timedPool(10);
  await runDrain(pool.drainConnections({ ...IN_TEN_SECONDS, grace: 1 }), 20_000);
  expect(closesMs()).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
});

test('answers that are still awaited do not change the pace of a deadline', async () => {
  const { pool, closesMs } = timedPool(6, { newSocket: () => new TimedSocket(false) });
  await runDrain(pool.drainConnections({ ...IN_TEN_SECONDS, grace: 5_000 }), 20_000);
  expect(closesMs()).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000]);
});

test('connections that left before their turn do not delay the ones after them', async () => {
  const { pool, sockets, closesMs } = timedPool(20);
  const drained = pool.drainConnections({ ...IN_TEN_SECONDS, grace: 1 });
  // Two are asked at once. Nine remain, for nine turns.
  for (const socket of sockets.slice(2, 11)) socket.end(1001);
  expect(await runDrain(drained, 20_000)).toMatchObject({ closed: 11, terminated: 0, left: 9 });
  expect(closesMs()).toEqual([0, 0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
});

test('all connections whose turn has passed during a stall are asked to close at once', async () => {
  // The event loop was blocked, or the machine was suspended.
  const { pool, closesMs } = timedPool(10);
  let hasStalled = false;
  const stall = (): void => {
    if (!hasStalled) vi.advanceTimersByTime(9_500);
    hasStalled = true;
  };
  const options = { deadline: 10_000, grace: 1_000, onProgress: stall };
  const report = await runDrain(pool.drainConnections(options), 20_000);
  expect(report).toMatchObject({ closed: 10, terminated: 0, left: 0 });
  expect(mostAtOnce(closesMs())).toBe(10);
});

test.each([
  ['are closed by that', () => new TimedSocket(false)],
  ['never say that they are closed', () => new StuckSocket()],
])('no more than 200 sockets that %s are terminated in one turn of the event loop', async (_, newSocket) => {
  // Ending thousands of sockets at once would hold up the event loop.
  const { pool, sockets } = timedPool(500, { newSocket });
  const progressMs: number[] = [];
  const report = await runDrain(
    pool.drainConnections({
      deadline: 2_000,
      interval: 500,
      grace: 60_000,
      onProgress: ({ elapsedMs }) => progressMs.push(elapsedMs),
    }),
    10_000,
  );
  expect(report).toMatchObject({ closed: 0, terminated: 500, left: 0 });
  const terminatedMs = sockets.map(({ terminatedAtMs }) => terminatedAtMs!);
  expect(mostAtOnce(terminatedMs)).toBe(200);
  expect(Math.min(...terminatedMs)).toBe(2_000);
  expect(Math.max(...terminatedMs)).toBeLessThanOrEqual(2_030);
  // Only waiting remains, and the drain does not wake up again and again for it.
  expect(progressMs.length).toBeLessThanOrEqual(12);
});

test('connections that are still open at the deadline are terminated, and counted as such', async () => {
  const { pool, sockets } = timedPool(10, { newSocket: () => new TimedSocket(false) });
  const startMs = performance.now();
  const report = await runDrain(pool.drainConnections({ deadline: 2_000, grace: 60_000 }), 10_000);
  expect(report).toMatchObject({ closed: 0, terminated: 10, left: 0 });
  for (const { terminatedAtMs } of sockets) {
    expect(terminatedAtMs! - startMs).toBeGreaterThanOrEqual(2_000);
    expect(terminatedAtMs! - startMs).toBeLessThanOrEqual(2_150);
  }
});

test.each([
  { deadline: 50 },
  { deadline: 1_250, interval: 1_000 },
  { deadline: 1_100, interval: 1_000, jitter: 1 },
])('the deadline is kept however far apart the slices are: %o', async (options) => {
  // The deadline was only checked between two slices: with long intervals the process outlived its deadline.
  const { pool, sockets } = timedPool(5, { newSocket: () => new TimedSocket(false) });
  const startMs = performance.now();
  await runDrain(pool.drainConnections({ ...options, grace: 60_000 }), 10_000);
  for (const { terminatedAtMs } of sockets) {
    expect(terminatedAtMs! - startMs).toBeLessThanOrEqual(options.deadline + 30);
  }
});

test('a socket that never reports its close is given up once', async () => {
  // Each step after the deadline terminated the sockets again, counted that and gave them another second: the drain
  // never ended.
  const { pool } = timedPool(3, { newSocket: () => new StuckSocket() });
  const report = await runDrain(pool.drainConnections({ deadline: 200 }), 5_000);
  expectToAddUp(report!, { n0: 3 });
  expect(report).toMatchObject({ closed: 0, terminated: 3, left: 0 });
  expect(pool.stats()).toMatchObject({ connections: 0, terminated: 3 });
});
