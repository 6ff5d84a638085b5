import { afterEach, beforeEach, vi } from 'vitest';

/** Longer than any timer that a test leaves behind, in ms. */
const QUIET_MS = 60_000;

/** Runs all tests of the surrounding `describe` with a clock that only `vi.advanceTimersByTime` moves. */
export function useFakeClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: [
        'setTimeout',
        'clearTimeout',
        'setInterval',
        'clearInterval',
        'setImmediate',
        'clearImmediate',
        'performance',
      ],
    });
  });
  afterEach(async () => {
    // Before the real clock is restored: a spy that is restored later would bring the fake one back permanently.
    vi.restoreAllMocks();
    // The timing wheel of the process must have stopped: its timer would belong to a clock that no longer exists.
    await vi.advanceTimersByTimeAsync(QUIET_MS);
    vi.useRealTimers();
  });
}
