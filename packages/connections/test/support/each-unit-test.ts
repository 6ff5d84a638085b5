import { aroundEach, expect, vi } from 'vitest';
import { TimingWheel, wheel, type Timed } from '../../src/liveness/timing-wheel.js';

const clock = (): readonly unknown[] => [
  setTimeout,
  setInterval,
  setImmediate,
  Reflect.get(performance, 'now'),
];

/*
 * Unit tests share one process, and so one timing wheel. This is a setup file: it fails each test that leaves a clock or
 * a deadline to the next one. Every deadline belongs to something that can end, so a test ends what it has begun.
 */
aroundEach(async (runTest) => {
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
  }
  const waiting = [...scheduled].filter(({ dueSlot }) => dueSlot !== 0);
  // The next test must not fail for this one.
  for (const entry of waiting) wheel.cancel(entry);
  expect(waiting, 'what still waits for a deadline').toEqual([]);
  vi.restoreAllMocks();
  expect(clock(), 'the clock of the process').toEqual(realClock);
});
