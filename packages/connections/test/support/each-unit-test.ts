import { aroundEach, expect, vi } from 'vitest';
import { TimingWheel, wheel, type Timed } from '../../src/liveness/timing-wheel.js';
import { ofOnlyTest } from './on-test-finished.js';

const clock = (): readonly unknown[] => [
  setTimeout,
  setInterval,
  setImmediate,
  Reflect.get(performance, 'now'),
];

/*
 * Unit tests share one process, and so one timing wheel. This setup file fails each test that leaves a clock or a
 * deadline to the next one. Every deadline belongs to something that can end, so a test must end what it has begun.
 */
aroundEach(async (runTest, { onTestFinished }) => {
  ofOnlyTest.onTestFinished = onTestFinished;
  const realClock = clock();
  const scheduled = new Set<Timed>();
  wheel.schedule = (entry, atMs) => {
    scheduled.add(entry);
    TimingWheel.prototype.schedule.call(wheel, entry, atMs);
  };
  try {
    await runTest();
  } finally {
    Reflect.deleteProperty(wheel, 'schedule');
    ofOnlyTest.onTestFinished = undefined;
  }
  const waiting = [...scheduled].filter(({ dueSlot }) => dueSlot !== 0);
  // The next test must not fail because of this one.
  for (const entry of waiting) wheel.cancel(entry);
  expect(waiting, 'what still waits for a deadline').toEqual([]);
  vi.restoreAllMocks();
  expect(clock(), 'the clock of the process').toEqual(realClock);
});

/*
 * A timer that a test leaves behind, such as the check of a slow reader, would fire in another test: under a fake clock
 * it would even count among that test's timers.
 */
aroundEach(async (runTest) => {
  const { setTimeout: realSetTimeout } = globalThis;
  const timers: NodeJS.Timeout[] = [];
  const setTimeout = (...args: Parameters<typeof realSetTimeout>): NodeJS.Timeout => {
    const timer = realSetTimeout(...args);
    timers.push(timer);
    return timer;
  };
  globalThis.setTimeout = Object.assign(setTimeout, realSetTimeout);
  try {
    await runTest();
  } finally {
    globalThis.setTimeout = realSetTimeout;
    for (const timer of timers) clearTimeout(timer);
  }
});
