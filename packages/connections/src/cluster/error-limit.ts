/** One error about each in this time, in ms. */
const INTERVAL_MS = 60_000;
/** So many are remembered; others may choose their names. */
const MAX_REMEMBERED = 1_000;

/** Keeps what happens thousands of times a second from being reported as often. */
export class ErrorLimit {
  readonly #reportedAtMs = new Map<string, number>();

  /** Whether an error about this may be reported now. */
  allows(about: string): boolean {
    const nowMs = performance.now();
    if (nowMs - (this.#reportedAtMs.get(about) ?? -Infinity) < INTERVAL_MS) return false;
    if (this.#reportedAtMs.size >= MAX_REMEMBERED) this.#reportedAtMs.clear();
    this.#reportedAtMs.set(about, nowMs);
    return true;
  }
}
