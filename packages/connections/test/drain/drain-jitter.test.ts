import { expect, test } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import { timedPool, runDrain, busiestSecond } from '../support/timed-pool.js';

useFakeClock();

test('without jitter connections are closed in the order in which they joined', async () => {
  const { pool, sockets } = timedPool(50);
  const closed: number[] = [];
  for (const [index, socket] of sockets.entries()) socket.once('close', () => closed.push(index));
  await runDrain(pool.drainConnections({ maxPerSecond: 50 }), 5_000);
  expect(closed).toEqual(sockets.map((_, index) => index));
});

test('jitter shuffles the order and keeps to the rate', async () => {
  const { pool, sockets, closesMs } = timedPool(200);
  const closed: number[] = [];
  for (const [index, socket] of sockets.entries()) socket.once('close', () => closed.push(index));
  const report = await runDrain(pool.drainConnections({ maxPerSecond: 50, jitter: 0.5 }), 20_000);
  expect(report).toMatchObject({ closed: 200 });
  const inOrder = sockets.map((_, index) => index);
  expect(closed).not.toEqual(inOrder);
  expect(closed.toSorted((a, b) => a - b)).toEqual(inOrder);
  expect(busiestSecond(closesMs())).toBeLessThanOrEqual(50);
});

test('a jitter of 1 varies the time between two slices by its whole length', async () => {
  const { pool, closesMs } = timedPool(200);
  const report = await runDrain(pool.drainConnections({ maxPerSecond: 100, jitter: 1 }), 30_000);
  expect(report).toMatchObject({ closed: 200 });
  expect(busiestSecond(closesMs())).toBeLessThanOrEqual(100);
  const instants = [...new Set(closesMs())];
  const gaps = new Set(instants.slice(1).map((atMs, index) => Math.round(atMs - instants[index]!)));
  expect(gaps.size).toBeGreaterThan(5);
});

test('a jitter of 0.5 varies the time between two slices by half of it, both ways', async () => {
  const { pool, closesMs } = timedPool(180);
  const options = { deadline: 60_000, interval: 1_000, grace: 1, jitter: 0.5 };
  await runDrain(pool.drainConnections(options), 70_000);
  const instants = [...new Set(closesMs())].toSorted((a, b) => a - b);
  const gaps = instants.slice(1).map((atMs, index) => atMs - instants[index]!);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(500);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(1_500);
  // There are about sixty gaps: that none of them is in an outer quarter happens once in ten million runs.
  expect(Math.min(...gaps)).toBeLessThan(750);
  expect(Math.max(...gaps)).toBeGreaterThan(1_250);
});
