/** What a connection has to do about its heartbeat now. */
export type Beat = 'wait' | 'ping' | 'dead';

/** Lateness that no wheel shows which turns, in ms. */
const LATE_MS = 200;
const REPRIEVE_MS = 200;
/**
 * Moments of an interval at which pings go out, those of one moment together: on a thread that is awake, the next
 * ping and pong cost a fifth less. Still no burst: a second apart by default, a thirtieth of all connections in each.
 */
const MOMENTS = 30;

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
  #reprievedUntilMs = 0;
  #sentAtMs = 0;
  #roundTripMs: number | undefined;

  /** @param phase where in the first interval the first ping falls, from 0 to below 1 */
  constructor(intervalMs: number, timeoutMs: number, nowMs: number, phase: number) {
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    const moment = Math.ceil((nowMs / intervalMs) * MOMENTS) + Math.floor(phase * MOMENTS);
    this.#nextPingAtMs = (moment * intervalMs) / MOMENTS;
  }

  /** From ping to pong, of the last heartbeat that was answered, in ms. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** When to look again. */
  get dueAtMs(): number {
    if (this.#pingedAtMs === 0) return this.#nextPingAtMs;
    return Math.max(this.#pingedAtMs + this.#timeoutMs, this.#reprievedUntilMs);
  }

  /** @param heardAtMs when anything at all was last received: it need not be the pong */
  beat(nowMs: number, heardAtMs: number): Beat {
    if (this.#pingedAtMs > 0) {
      if (heardAtMs >= this.#pingedAtMs) this.#pingedAtMs = 0;
      else if (nowMs >= this.dueAtMs) return this.#verdict(nowMs);
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

  /**
   * Looked at much too late, the event loop has stood still, and what has arrived meanwhile may not have been read:
   * the peer gets a little more time, once.
   */
  #verdict(nowMs: number): Beat {
    const isLate = nowMs - this.dueAtMs > LATE_MS && this.#reprievedUntilMs < this.#pingedAtMs;
    if (!isLate) return 'dead';
    this.#reprievedUntilMs = nowMs + REPRIEVE_MS;
    return 'wait';
  }

  onPong(): void {
    if (this.#sentAtMs === 0) return;
    this.#roundTripMs = performance.now() - this.#sentAtMs;
    this.#sentAtMs = 0;
  }
}
