import { expect, test, vi } from 'vitest';
import type { DrainOptions, DrainProgress } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { TimedSocket, StuckSocket, timedPool, runDrain, totalOf } from '../support/timed-pool.js';
import { watchUnhandled } from '../support/unhandled.js';

useFakeClock();

test('onProgress reports the outcome of every connection after each slice', async () => {
  const { pool } = timedPool(35, { namespaces: 4 });
  const seen: DrainProgress[] = [];
  const onProgress = (progress: DrainProgress): void => void seen.push(progress);
  await runDrain(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
  // The sockets answer after the slice that closes them: 0, 10, 20 and 30 are gone at the four calls.
  expect(seen.map(({ closed, remaining }) => [closed, remaining])).toEqual([
    [0, 35],
    [10, 25],
    [20, 15],
    [30, 5],
  ]);
  for (const progress of seen) expect(totalOf(progress) + progress.remaining).toBe(35);
  const elapsed = seen.map(({ elapsedMs }) => elapsedMs);
  expect(elapsed).toEqual(elapsed.toSorted((a, b) => a - b));
});

test('onProgress is still called while the last answers are awaited', async () => {
  const { pool } = timedPool(2, { newSocket: () => new TimedSocket(false) });
  const seen: DrainProgress[] = [];
  const onProgress = (progress: DrainProgress): void => void seen.push(progress);
  await runDrain(pool.drainConnections({ grace: 1_000, onProgress }), 5_000);
  expect(seen.length).toBeGreaterThanOrEqual(9);
  expect(seen.at(-1)).toMatchObject({ closed: 0, remaining: 2 });
});

test.each<[string, DrainOptions]>([
  // The rate is used up, but no connection is left that has to wait for it.
  ['only the last answers are awaited', { maxPerSecond: 2, interval: 500, grace: 2_000 }],
  ['sockets that were terminated do not say that they are closed', { deadline: 1_000, interval: 500 }],
])('onProgress is called at each interval while %s', async (_, options) => {
  const { pool } = timedPool(2, { newSocket: () => new StuckSocket() });
  const elapsed: number[] = [];
  const onProgress = ({ elapsedMs }: DrainProgress): void => void elapsed.push(elapsedMs);
  await runDrain(pool.drainConnections({ ...options, onProgress }), 10_000);
  expect(elapsed.slice(0, 5)).toEqual([0, 500, 1_000, 1_500, 2_000]);
});

test('onProgress and the report count the time from the call', async () => {
  vi.advanceTimersByTime(7_000);
  const { pool } = timedPool(35);
  const elapsed: number[] = [];
  const onProgress = ({ elapsedMs }: DrainProgress): void => void elapsed.push(elapsedMs);
  const report = await runDrain(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
  expect(elapsed).toEqual([0, 100, 200, 300]);
  expect(report!.tookMs).toBe(300);
});

test.each<[string, () => Promise<void> | void]>([
  [
    'throws',
    () => {
      throw new Error('no progress');
    },
  ],
  // The rejection was unhandled, which ended the process in the middle of a drain.
  ['rejects', () => Promise.reject(new Error('no progress'))],
])(
  'an onProgress that %s causes an error event of the pool, and the drain goes on',
  async (_, onProgress) => {
    const { reasons } = watchUnhandled();
    const { pool } = timedPool(20);
    const errors: unknown[] = [];
    pool.on('error', (error, connection) => errors.push([error.message, connection]));
    const report = await runDrain(pool.drainConnections({ maxPerSecond: 100, onProgress }), 5_000);
    expect(report).toMatchObject({ closed: 20 });
    expect(errors).toEqual([
      ['no progress', undefined],
      ['no progress', undefined],
    ]);
    expect(pool.stats().errors).toBe(2);
    expect(reasons).toEqual([]);
  },
);
