import { expect, test, vi } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import {
  TimedSocket,
  StuckSocket,
  timedPool,
  runDrain,
  mostAtOnce,
  expectToAddUp,
} from '../support/timed-pool.js';

useFakeClock();

test('no connection is asked to close in the last `grace` ms before the deadline', async () => {
  const { pool, closesMs } = timedPool(100);
  const startMs = performance.now();
  await runDrain(pool.drainConnections({ deadline: 10_000, grace: 1_000 }), 20_000);
  expect(Math.max(...closesMs()) - startMs).toBeLessThanOrEqual(9_000);
  expect(Math.max(...closesMs()) - startMs).toBeGreaterThanOrEqual(8_500);
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
