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
 * Connections that joined behind each other lie beside each other in memory, here and in the kernel: pinged at the same
 * moment, the heartbeats of a large pool cost a fifth less.
 */
const PINGED_TOGETHER = 32;
/** Moments from one group of neighbours to the next: coprime to all of them, so that every moment gets as many. */
const STRIDE = 11;

/** Heartbeats that have begun, of all pools: small ones that begin together must not share one moment. */
let begun = 0;

/** For one heartbeat more: its moment in the interval. Whenever and at whatever pace they begin, they stay spread. */
export function nextMoment(): number {
  return (Math.floor(begun++ / PINGED_TOGETHER) * STRIDE) % MOMENTS;
}

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

  /** @param moment its place in every interval, as the clock counts them: from 0 to 29 */
  constructor(intervalMs: number, timeoutMs: number, nowMs: number, moment: number) {
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    const soonest = Math.ceil((nowMs / intervalMs) * MOMENTS);
    const first = soonest + ((moment + MOMENTS - (soonest % MOMENTS)) % MOMENTS);
    this.#nextPingAtMs = (first * intervalMs) / MOMENTS;
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
    const isLate = nowMs - this.dueAtMs > LATE_MS && this.#reprievedUntilMs <= this.#pingedAtMs;
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
