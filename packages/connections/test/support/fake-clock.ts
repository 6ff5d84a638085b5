import { afterEach, beforeEach, vi } from 'vitest';
import { SimulatedTimers } from './simulated-timers.js';

/** Longer than any timer that a test leaves behind, in ms. */
const QUIET_MS = 60_000;

/**
 * Runs all tests of the surrounding `describe` with a clock that only `vi.advanceTimersByTime` moves. The functions of
 * `vi` for fake timers act on it until the test has ended.
 */
export function useFakeClock(): void {
  let restore: () => void;
  beforeEach(() => {
    restore = install(new SimulatedTimers());
  });
  afterEach(async () => {
    // Before the real clock is restored: a spy that is restored later would bring the fake one back permanently.
    vi.restoreAllMocks();
    // The timing wheel of the process must have stopped: its timer would belong to a clock that no longer exists.
    await vi.advanceTimersByTimeAsync(QUIET_MS);
    restore();
  });
}

/** @returns a function that brings the clock of the process back */
function install(timers: SimulatedTimers): () => void {
  const restores = [
    replace(globalThis, timers.functions),
    replace(performance, { now: () => timers.nowMs }),
    replace(vi, {
      advanceTimersByTime: (ms: number) => {
        timers.advance(ms);
        return vi;
      },
      advanceTimersByTimeAsync: async (ms: number) => {
        await timers.advanceAsync(ms);
        return vi;
      },
      advanceTimersToNextTimer: () => {
        timers.advanceToNext();
        return vi;
      },
      runAllTimersAsync: async () => {
        await timers.runAllAsync();
        return vi;
      },
      getTimerCount: () => timers.count,
      isFakeTimers: () => true,
    }),
  ];
  return () => {
    for (const restoreOne of restores) restoreOne();
  };
}

/** Replaces properties of an object. @returns a function that brings them back */
function replace(target: object, replacements: object): () => void {
  const before = Object.keys(replacements).map(
    (name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  );
  for (const [name, value] of Object.entries(replacements))
    Object.defineProperty(target, name, { value: value as unknown, configurable: true, writable: true });
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, descriptor);
    }
  };
}
