import type { Counters } from '../counters.js';
import type { SlowDecision } from '../options.js';
import { inOwnContext } from '../own-context.js';

/** A socket that does not tell when it has room again is looked at after this time, in ms. */
const MIN_POLL_MS = 10;
/** A reader that has waited long can wait longer: each look that finds no room doubles the wait up to this, in ms. */
const MAX_POLL_MS = 100;

/** When to look again, in ms. @param waitedMs how long the last look has waited; 0 for the first look */
export function nextPollMs(waitedMs: number): number {
  return Math.min(Math.max(2 * waitedMs, MIN_POLL_MS), MAX_POLL_MS);
}

/** What a slow reader needs to know of its connection. */
export interface SlowReaderOwner {
  /** Asks the policy. `isNew`: the first message of this episode. Never throws. */
  decide(byteLength: number, isNew: boolean): SlowDecision;
  /** The policy says so. Never throws. */
  closeSlow(): void;
  /** The episode is over. Never throws. */
  drained(): void;
  /** Half of the bound is free again. */
  hasRoom(): boolean;
  /** Calls back once when the socket has written all it holds; `false` if it cannot. */
  onceDrained(listener: () => void): boolean;
}

/**
 * The slow-reader policy for one connection: what happens to a message that exceeds the bound, and how long the episode
 * lasts. An episode begins with the first such message and ends when the socket is empty or, if it does not tell, when
 * half of the bound is free.
 */
export class SlowReader {
  readonly #owner: SlowReaderOwner;
  /** Those of the pool that the connection is in, as long as an episode lasts. */
  #counters: Counters | undefined;
  #isDeciding = false;
  #hasClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #pollMs = 0;

  constructor(owner: SlowReaderOwner) {
    this.#owner = owner;
  }

  /** Whether the policy lets a message pass that exceeds the bound. */
  passes(byteLength: number, counters: Counters): boolean {
    // The policy itself may send, and is not asked about that again.
    if (this.#isDeciding) return false;
    const isNew = this.#counters === undefined;
    if (isNew) this.#begin(counters);
    this.#isDeciding = true;
    const decision = this.#owner.decide(byteLength, isNew);
    this.#isDeciding = false;
    if (decision === 'close' && !this.#hasClosed) {
      // Once per episode: an overridden `close` may take its time, and is not called for each message.
      this.#hasClosed = true;
      this.#owner.closeSlow();
    }
    return decision === 'send';
  }

  /** More waits than the policy lets messages be: what else it is cannot be dropped. */
  exceeds(counters: Counters): void {
    if (this.#isDeciding || this.passes(0, counters) || this.#hasClosed) return;
    this.#hasClosed = true;
    this.#owner.closeSlow();
  }

  #begin(counters: Counters): void {
    this.#hasClosed = false;
    this.#counters = counters;
    counters.slowReaders++;
    counters.slowNow++;
    this.#pollMs = 0;
    if (!this.#owner.onceDrained(this.#look)) this.#poll();
  }

  /** The connection is in another pool, or in none: the episode counts there. */
  enter(counters: Counters): void {
    if (this.#counters === undefined) return;
    this.#counters.slowNow--;
    counters.slowNow++;
    this.#counters = counters;
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#counters === undefined) return;
    this.stop();
    this.#owner.drained();
  }

  /** The connection is gone: there is nothing left to tell. */
  stop(): void {
    if (this.#counters !== undefined) this.#counters.slowNow--;
    this.#counters = undefined;
    clearTimeout(this.#timer);
  }

  #poll(): void {
    this.#pollMs = nextPollMs(this.#pollMs);
    this.#timer = inOwnContext(() => setTimeout(this.#look, this.#pollMs).unref());
  }

  /** Also when the stream is empty: `ws` may still hold messages that it compresses. */
  readonly #look = (): void => {
    if (this.#counters === undefined) return;
    if (this.#owner.hasRoom()) this.drained();
    else this.#poll();
  };
}
