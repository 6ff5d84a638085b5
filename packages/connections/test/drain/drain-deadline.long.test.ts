import { expect, test, vi } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import {
  TimedSocket,
  StuckSocket,
  timedPool,
  runDrain,
  busiestSecond,
  mostAtOnce,
} from '../support/timed-pool.js';

useFakeClock();

test.each([
  [1, 1_000],
  [10, 1_000],
  [1_000, 5_000],
  [500, 90_000],
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

test('connections that leave by themselves slow down the pace of a deadline', async () => {
  const { pool, sockets, closesMs } = timedPool(1_000);
  const startMs = performance.now();
  const drained = pool.drainConnections({ deadline: 20_000, interval: 1_000, grace: 1_000 });
  await vi.advanceTimersByTimeAsync(5_000);
  const waiting = sockets.filter(({ closedAtMs }) => closedAtMs === undefined);
  const leaving = waiting.slice(0, Math.floor(waiting.length * 0.9));
  for (const socket of leaving) socket.end(1001);
  const report = await runDrain(drained, 40_000);
  expect(report).toMatchObject({ left: leaving.length, terminated: 0 });
  const last = closesMs().filter((atMs) => atMs > startMs + 5_000);
  // About 75 are closed in the 14 s that remain. Before, it was 50 per second.
  expect(busiestSecond(last)).toBeLessThanOrEqual(15);
  expect(Math.max(...last) - startMs).toBeGreaterThanOrEqual(17_000);
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
