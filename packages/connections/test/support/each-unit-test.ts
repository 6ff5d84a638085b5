import { aroundEach, expect, vi } from 'vitest';
import { TimingWheel, wheel, type Timed } from '../../src/liveness/timing-wheel.js';
import { ofOnlyTest } from './on-test-finished.js';

const clock = (): readonly unknown[] => [
  setTimeout,
  setInterval,
  setImmediate,
  Reflect.get(performance, 'now'),
];

const schedule = (entry: Timed, atMs: number): void =>
  TimingWheel.prototype.schedule.call(wheel, entry, atMs);

/*
 * Unit tests share one process, and so one timing wheel. This setup file fails each test that leaves a clock or a
 * deadline to the next one. Every deadline belongs to something that can end, so a test must end what it has begun.
 *
 * One hook for all of this, and an `expect` only where it fails: thousands of tests pay for them.
 */
aroundEach(async (runTest, { onTestFinished }) => {
  ofOnlyTest.onTestFinished = onTestFinished;
  const realClock = clock();
  const clearTimers = recordTimers();
  const scheduled = new Set<Timed>();
  wheel.schedule = (entry, atMs) => {
    scheduled.add(entry);
    schedule(entry, atMs);
  };
  try {
    await runTest();
  } finally {
    clearTimers();
    // Not deleted: that would make all uses of the wheel slower.
    wheel.schedule = schedule;
    ofOnlyTest.onTestFinished = undefined;
  }
  const waiting = [...scheduled].filter(({ dueSlot }) => dueSlot !== 0);
  // The next test must not fail because of this one.
  for (const entry of waiting) wheel.cancel(entry);
  if (waiting.length > 0) expect(waiting, 'what still waits for a deadline').toEqual([]);
  vi.restoreAllMocks();
  if (clock().some((one, index) => one !== realClock[index]))
    expect(clock(), 'the clock of the process').toEqual(realClock);
});

/**
 * A timer that a test leaves behind, such as the check of a slow reader, would fire in another test: under a fake clock
 * it would even count among that test's timers.
 *
 * @returns a function that clears all timers that were set since, and restores `setTimeout`
 */
function recordTimers(): () => void {
  const { setTimeout: realSetTimeout } = globalThis;
  const timers: NodeJS.Timeout[] = [];
  const setTimeout = (...args: Parameters<typeof realSetTimeout>): NodeJS.Timeout => {
    const timer = realSetTimeout(...args);
    timers.push(timer);
    return timer;
  };
  globalThis.setTimeout = Object.assign(setTimeout, realSetTimeout);
  return () => {
    globalThis.setTimeout = realSetTimeout;
    for (const timer of timers) clearTimeout(timer);
  };
}
