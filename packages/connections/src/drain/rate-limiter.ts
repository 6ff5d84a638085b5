/**
 * Length of the window in which a rate is kept, in ms. A little over a second: timers and the network are exact only to
 * some milliseconds, and clients must not see more than the rate within any one second.
 */
export const WINDOW_MS = 1_020;

/** A sliding window: never more than `maxPerSecond` within any one second, however unevenly they come. */
export class RateLimiter {
  /** May change at any time: a lower rate lets nobody pass until enough of those that passed have left the window. */
  maxPerSecond: number;
  /** What passed within the window, oldest first. */
  readonly #recent: { readonly atMs: number; readonly count: number }[] = [];
  #inWindow = 0;

  /** @param earlier its window goes on: what passed there counts here */
  constructor(maxPerSecond: number, earlier?: RateLimiter) {
    this.maxPerSecond = maxPerSecond;
    if (earlier === undefined) return;
    this.#recent.push(...earlier.#recent);
    this.#inWindow = earlier.#inWindow;
  }

  /** How many may pass now. */
  allowed(nowMs: number): number {
    for (let oldest = this.#recent[0]; oldest && nowMs - oldest.atMs >= WINDOW_MS; oldest = this.#recent[0]) {
      this.#inWindow -= oldest.count;
      this.#recent.shift();
    }
    return this.maxPerSecond - this.#inWindow;
  }

  /** How long until some may pass, in ms; 0 when some may pass now. */
  waitMs(nowMs: number): number {
    if (this.allowed(nowMs) > 0) return 0;
    const oldest = this.#recent[0];
    return oldest === undefined ? 0 : oldest.atMs + WINDOW_MS - nowMs;
  }

  record(nowMs: number, count: number): void {
    if (count === 0) return;
    this.#recent.push({ atMs: nowMs, count });
    this.#inWindow += count;
  }
}
