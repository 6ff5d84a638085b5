/** What a connection has to do about its heartbeat now. */
export type Beat = 'wait' | 'ping' | 'dead';

/** A running wheel is never later than this, in ms. */
const LATE_MS = 200;
const REPRIEVE_MS = 200;
/**
 * Pings of an interval are sent at this many moments, and those of one moment together: while the thread is awake, the
 * next ping and pong cost a fifth less. That is no burst: by default the moments are a second apart, and each has a
 * thirtieth of all connections.
 */
const MOMENTS = 30;
/**
 * Connections that joined one after the other lie next to each other in memory, here and in the kernel. Pinging this many
 * of them at the same moment makes the heartbeats of a large pool a fifth cheaper.
 */
const PINGED_TOGETHER = 32;
/** Moments from one group of neighbours to the next: coprime to `MOMENTS`, so that every moment gets as many. */
const STRIDE = 11;

/** Heartbeats that have begun, in all pools: small pools that begin together must not share one moment. */
let begun = 0;

/** The moment for one more heartbeat. They stay spread evenly however fast connections join. */
export function nextMoment(): number {
  return (Math.floor(begun++ / PINGED_TOGETHER) * STRIDE) % MOMENTS;
}

/**
 * Heartbeat of one connection: when to ping, and when silence means that the peer is gone.
 *
 * Pure: the caller passes the clock in and sends the ping.
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

  /** @param moment its place in every interval, counted by the clock. Range: 0 to 29 */
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
    // It keeps its place in the interval. Counted from now, every stall of the event loop would leave the pings that
    // it held up together for good. Missed pings are not made up for.
    const missed = Math.floor((nowMs - this.#nextPingAtMs) / this.#intervalMs);
    this.#nextPingAtMs += (missed + 1) * this.#intervalMs;
    return 'ping';
  }

  /**
   * If it is looked at much too late, the event loop was blocked, and bytes that arrived meanwhile may not have been
   * read: the peer gets a little more time, once.
   */
  #verdict(nowMs: number): Beat {
    const isLate = nowMs - this.dueAtMs > LATE_MS && this.#reprievedUntilMs <= this.#pingedAtMs;
    if (!isLate) return 'dead';
    this.#reprievedUntilMs = nowMs + REPRIEVE_MS;
    return 'wait';
  }

  /** There are signs of life, though no answer: the peer gets as much time again. */
  extend(nowMs: number): void {
    this.#pingedAtMs = nowMs;
  }

  /** @returns whether it answers a ping of ours */
  onPong(): boolean {
    if (this.#sentAtMs === 0) return false;
    this.#roundTripMs = performance.now() - this.#sentAtMs;
    this.#sentAtMs = 0;
    return true;
  }
}
