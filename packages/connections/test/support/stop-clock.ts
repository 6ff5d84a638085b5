import { vi } from 'vitest';
import { onTestFinished } from './on-test-finished.js';

/**
 * Stops the clock of the library for this test, except its timers, so that nothing depends on how busy the machine is:
 * no compression is overdue, and no flush runs out of time.
 */
export function stopClock(): void {
  const nowMs = performance.now();
  const spy = vi.spyOn(performance, 'now').mockReturnValue(nowMs);
  onTestFinished(() => spy.mockRestore());
}
