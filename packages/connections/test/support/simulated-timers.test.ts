import { expect, test, vi } from 'vitest';
import { onTestFinished } from './on-test-finished.js';
import { Random } from './random.js';
import { runs } from './runs.js';
import { SimulatedTimers } from './simulated-timers.js';

type Functions = Pick<
  typeof globalThis,
  'setTimeout' | 'clearTimeout' | 'setInterval' | 'clearInterval' | 'setImmediate' | 'clearImmediate'
>;

interface Clock {
  readonly functions: Functions;
  readonly nowMs: () => number;
  readonly advance: (ms: number) => unknown;
  readonly advanceAsync: (ms: number) => Promise<unknown>;
  readonly count: () => number;
}

/** Makes random timers, some of which make or clear others. @returns which were called, and when */
async function callsOf(
  seed: number,
  { functions, nowMs, advance, advanceAsync, count }: Clock,
): Promise<unknown[]> {
  const random = new Random(seed);
  const calls: unknown[] = [];
  const timeouts: NodeJS.Timeout[] = [];
  let names = 0;
  const make = (): void => {
    const name = names++;
    const act = (): void => {
      calls.push([name, nowMs()]);
      if (random.chance(0.4)) make();
      if (random.chance(0.2)) functions.clearTimeout(random.pick(timeouts));
      if (random.chance(0.2)) random.pick(timeouts).refresh();
      if (random.chance(0.2)) void Promise.resolve().then(() => calls.push([`after ${name}`, nowMs()]));
    };
    const kind = random.below(4);
    if (kind === 0) functions.setImmediate(act);
    else if (kind === 1) {
      let left = 3;
      const interval = functions.setInterval(
        () => {
          if (left-- === 0) functions.clearInterval(interval);
          calls.push([`interval ${name}`, nowMs()]);
        },
        1 + random.below(20),
      );
    } else timeouts.push(functions.setTimeout(act, random.below(4) * random.below(20)));
  };
  timeouts.push(functions.setTimeout(() => undefined, 5));
  for (let step = 0; step < 60; step++) {
    make();
    if (random.chance(0.2)) advance(random.below(15));
    else if (random.chance(0.3)) await advanceAsync(random.below(15));
    calls.push([count(), nowMs()]);
  }
  return calls;
}

test.each(Array.from({ length: runs({ quick: 5, ci: 100 }) }, (_, seed) => seed))(
  'simulated timers are called in the same order and at the same times as the fake timers of Vitest (seed %i)',
  async (seed) => {
    const timers = new SimulatedTimers();
    const simulated = await callsOf(seed, {
      functions: timers.functions as unknown as Functions,
      nowMs: () => timers.nowMs,
      advance: (ms) => timers.advance(ms),
      advanceAsync: (ms) => timers.advanceAsync(ms),
      count: () => timers.count,
    });
    vi.useFakeTimers({
      toFake: [
        ...(['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] as const),
        ...(['setImmediate', 'clearImmediate', 'performance'] as const),
      ],
    });
    onTestFinished(() => void vi.useRealTimers());
    const expected = await callsOf(seed, {
      functions: globalThis,
      nowMs: () => Math.round(performance.now()),
      advance: (ms) => vi.advanceTimersByTime(ms),
      advanceAsync: (ms) => vi.advanceTimersByTimeAsync(ms),
      count: () => vi.getTimerCount(),
    });
    vi.useRealTimers();
    expect(simulated.length).toBeGreaterThan(60);
    expect(simulated).toEqual(expected);
  },
);

test('the first error of a timer is thrown once the clock has arrived, and the others are called', async () => {
  const timers = new SimulatedTimers();
  const { setTimeout } = timers.functions;
  const fail = (message: string) => (): void => {
    throw new Error(message);
  };
  const called = vi.fn();
  setTimeout(fail('first'), 10);
  setTimeout(fail('second'), 20);
  setTimeout(called, 30);
  expect(() => timers.advance(25)).toThrow('first');
  setTimeout(fail('third'), 1);
  await expect(timers.advanceAsync(5)).rejects.toThrow('third');
  expect(called).toHaveBeenCalledTimes(1);
  expect(timers.nowMs).toBe(30);
});

test('a delay longer than a timer of Node can wait is one millisecond', () => {
  const timers = new SimulatedTimers();
  const called = vi.fn();
  timers.functions.setTimeout(called, 2 ** 31);
  timers.advance(1);
  expect(called).toHaveBeenCalledTimes(1);
});
