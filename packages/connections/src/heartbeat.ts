/** What a connection has to do about its heartbeat now. */
export type Beat = 'wait' | 'ping' | 'dead';

/**
 * Heartbeat of one connection: when to ping, and when silence means that the peer is gone.
 *
 * Pure: the clock is passed in, and somebody else sends the ping.
 */
export class Heartbeat {
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  #nextPingAtMs: number;
  /** 0 when no answer is awaited. */
  #pingedAtMs = 0;
  #sentAtMs = 0;
  #roundTripMs: number | undefined;

  /** @param phase where in the first interval the first ping falls, 0 to 1: spreads many connections evenly */
  constructor(intervalMs: number, timeoutMs: number, nowMs: number, phase: number) {
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    this.#nextPingAtMs = nowMs + intervalMs * phase;
  }

  /** From ping to pong, of the last heartbeat that was answered, in ms. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** When to look again. */
  get dueAtMs(): number {
    return this.#pingedAtMs > 0 ? this.#pingedAtMs + this.#timeoutMs : this.#nextPingAtMs;
  }

  /** @param heardAtMs when anything at all was last received: it need not be the pong */
  beat(nowMs: number, heardAtMs: number): Beat {
    if (this.#pingedAtMs > 0) {
      if (heardAtMs >= this.#pingedAtMs) this.#pingedAtMs = 0;
      else if (nowMs >= this.#pingedAtMs + this.#timeoutMs) return 'dead';
    }
    if (this.#pingedAtMs > 0 || nowMs < this.#nextPingAtMs) return 'wait';
    this.#pingedAtMs = nowMs;
    this.#sentAtMs = performance.now();
    // Its place in the interval stays: reckoned from now, every stall of the event loop would gather the pings that
    // it has held up in one place for good. What was missed is not caught up with.
    const missed = Math.floor((nowMs - this.#nextPingAtMs) / this.#intervalMs);
    this.#nextPingAtMs += (missed + 1) * this.#intervalMs;
    return 'ping';
  }

  onPong(): void {
    if (this.#sentAtMs === 0) return;
    this.#roundTripMs = performance.now() - this.#sentAtMs;
    this.#sentAtMs = 0;
  }
}
