import { expect, test, vi } from 'vitest';
import type { DrainOptions, DrainReport } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';
import { TimedSocket, timedPool, busiestSecond, expectToAddUp } from '../support/timed-pool.js';

useFakeClock();

interface Behaviour {
  readonly random: Random;
  readonly sockets: readonly TimedSocket[];
}

/** Runs the drain while some connections leave by themselves. */
async function runWithDepartures(
  drained: Promise<DrainReport>,
  { random, sockets }: Behaviour,
  withinMs: number,
): Promise<DrainReport | undefined> {
  let report: DrainReport | undefined;
  void drained.then((result) => (report = result));
  for (let passedMs = 0; passedMs < withinMs && report === undefined;) {
    const stepMs = 1 + random.below(400);
    await vi.advanceTimersByTimeAsync(stepMs);
    passedMs += stepMs;
    for (let leaving = random.below(3); leaving > 0; leaving--) random.pick(sockets).end(1001);
  }
  return report;
}

test.each(Array.from({ length: runs({ quick: 3, ci: 60 }) }, (_, seed) => seed))(
  'a random drain keeps to its rate in every second and ends, and its report adds up (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    const [rate, seconds] = [1 + random.below(300), random.below(6)];
    const count = 1 + random.below(rate * seconds + 2);
    const namespaces = 1 + random.below(4);
    const deafness = random.pick([0, 0, 0.1]);
    const { pool, sockets, closesMs } = timedPool(count, {
      namespaces,
      newSocket: () => new TimedSocket(!random.chance(deafness)),
    });
    const sizes: Record<string, number> = {};
    for (const [name, members] of pool.connections) sizes[name] = members.size;
    const options: DrainOptions = {
      maxPerSecond: rate,
      interval: random.pick([5, 50, 100, 333, 1_000]),
      jitter: random.pick([0, 0, 0.3, 1]),
      grace: 500,
    };
    const withinMs = 3_000 * (count / rate) + 10_000;
    const report = await runWithDepartures(pool.drainConnections(options), { random, sockets }, withinMs);
    expect(report).toBeDefined();
    expectToAddUp(report!, sizes);
    expect(busiestSecond(closesMs())).toBeLessThanOrEqual(rate);
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, drains: 1 });
    expect(pool.stats().terminated).toBe(report!.terminated);
    expect(Math.max(...sockets.map(({ closes }) => closes.length))).toBeLessThanOrEqual(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(vi.getTimerCount()).toBe(0);
  },
);

test.each(Array.from({ length: runs({ quick: 2, ci: 30 }) }, (_, seed) => seed))(
  'a random drain is over at its deadline (seed %i)',
  async (seed) => {
    const random = new Random(1_000 + seed);
    const count = 1 + random.below(500);
    const { pool, sockets } = timedPool(count, {
      namespaces: 3,
      newSocket: () => new TimedSocket(!random.chance(0.1)),
    });
    const sizes: Record<string, number> = {};
    for (const [name, members] of pool.connections) sizes[name] = members.size;
    const deadline = 500 + random.below(20_000);
    const options = { deadline, grace: 1 + random.below(5_000), jitter: random.pick([0, 0.3, 1]) };
    const report = await runWithDepartures(
      pool.drainConnections(options),
      { random, sockets },
      2 * deadline + 5_000,
    );
    expect(report).toBeDefined();
    expectToAddUp(report!, sizes);
    // The longest step of the clock above is 400 ms.
    expect(report!.tookMs).toBeLessThanOrEqual(deadline + 400);
  },
);
