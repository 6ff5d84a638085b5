import { afterEach, beforeEach, vi } from 'vitest';

/** Longer than anything that a test leaves behind may take, in ms. */
const QUIET_MS = 60_000;

/** Has all tests of the surrounding `describe` run by a clock that only `vi.advanceTimersByTime` moves. */
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
    // Before the clock goes back: restored later, a spy on it would bring the fake one back for good.
    vi.restoreAllMocks();
    // The timing wheel of the process must have come to rest: its timer would be one of a clock that is gone.
    await vi.advanceTimersByTimeAsync(QUIET_MS);
    vi.useRealTimers();
  });
}
