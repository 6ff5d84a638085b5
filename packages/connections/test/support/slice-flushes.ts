import { vi } from 'vitest';
import { FanOut } from '../../src/sending/fan-out.js';
import { onTestFinished } from './on-test-finished.js';

/** Watches flushes, and makes each reading of the clock take so long that they stop after the first members. */
export function sliceFlushes(): { readonly slices: () => number; readonly isInside: () => boolean } {
  let nowMs = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 0.6));
  const flush = vi.spyOn(FanOut.prototype, 'flush');
  onTestFinished(() => {
    clock.mockRestore();
    flush.mockRestore();
  });
  const returned = (): unknown[] => flush.mock.results.map(({ value }): unknown => value);
  return {
    slices: () => returned().filter((flushed) => flushed === 'some').length,
    isInside: () => flush.mock.results.at(-1)?.value === 'some',
  };
}
