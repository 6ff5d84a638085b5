import { vi } from 'vitest';
import { onTestFinished } from './on-test-finished.js';

/** A clock that only advances when `pass` is called: work takes as long as the test says. Timers stay real. */
export function slowClock(): { pass: (ms: number) => void } {
  let nowMs = performance.now();
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  onTestFinished(() => spy.mockRestore());
  return { pass: (ms) => (nowMs += ms) };
}
