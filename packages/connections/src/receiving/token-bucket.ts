import type { RateLimitSettings } from '../options.js';

const SECOND_MS = 1_000;
/** A message that waits may be looked at this much too late, in seconds: two slots of the timing wheel. */
const LATE_SECONDS = 0.2;
/** Longest wait that is asked for: what a timer can hold. */
const MAX_WAIT_MS = 2_147_483_647;
/** Messages of one flood that are counted between two looks at the clock. */
const MESSAGES_PER_LOOK = 16;

/**
 * How much of its rate limit one connection has left: tokens for messages and for bytes, which a message takes and time
 * brings back.
 *
 * Pure: the caller passes the clock in, which must be monotonic.
 */
export class TokenBucket {
  readonly #limit: RateLimitSettings;
  #messages: number;
  #bytes: number;
  #filledAtMs: number;
  /** Messages that were turned away without a look at the clock. */
  #unseen = 0;

  /** A full one. */
  constructor(limit: RateLimitSettings, nowMs: number) {
    this.#limit = limit;
    this.#messages = limit.burst;
    this.#bytes = limit.bytesPerSecond;
    this.#filledAtMs = nowMs;
  }

  /**
   * The same for one message of many that have arrived at once, if it is to be dropped anyway: hardly any tokens come
   * back meanwhile, and the clock is looked at for every 16th of them only.
   *
   * @returns whether there is still no token, as far as is known
   */
  isStillEmpty(): boolean {
    return this.#messages < 1 && ++this.#unseen % MESSAGES_PER_LOOK !== 0;
  }

  /** Takes the tokens of a message that has arrived. @returns `false` if they are not there; none are taken then */
  take(byteLength: number, nowMs: number): boolean {
    const { burst, bytesPerSecond } = this.#limit;
    this.#fill(nowMs, burst, bytesPerSecond);
    return this.#spend(byteLength);
  }

  /**
   * The same for a message that has been waiting for its tokens. It may be larger than the bucket, and it is looked at
   * rarely: what came in between counts. No more than that is saved up, or the messages after it would be a flood.
   */
  takeWaiting(byteLength: number, nowMs: number): boolean {
    const { messagesPerSecond, burst, bytesPerSecond } = this.#limit;
    const maxBytes = Math.max(bytesPerSecond, byteLength) + bytesPerSecond * LATE_SECONDS;
    this.#fill(nowMs, burst + messagesPerSecond * LATE_SECONDS, maxBytes);
    return this.#spend(byteLength);
  }

  /** How long a message has to wait for its tokens, counted from the last call, in ms. */
  waitMs(byteLength: number): number {
    const { messagesPerSecond, bytesPerSecond } = this.#limit;
    const seconds = Math.max(
      secondsUntil(1 - this.#messages, messagesPerSecond),
      secondsUntil(byteLength - this.#bytes, bytesPerSecond),
    );
    return Math.min(seconds * SECOND_MS, MAX_WAIT_MS);
  }

  #fill(nowMs: number, maxMessages: number, maxBytes: number): void {
    const seconds = (nowMs - this.#filledAtMs) / SECOND_MS;
    this.#filledAtMs = nowMs;
    // What is not limited is infinite, and `Infinity * 0` is NaN.
    if (seconds > 0) {
      this.#messages += seconds * this.#limit.messagesPerSecond;
      this.#bytes += seconds * this.#limit.bytesPerSecond;
    }
    this.#messages = Math.min(this.#messages, maxMessages);
    this.#bytes = Math.min(this.#bytes, maxBytes);
  }

  #spend(byteLength: number): boolean {
    if (this.#messages < 1 || this.#bytes < byteLength) return false;
    this.#messages -= 1;
    this.#bytes -= byteLength;
    return true;
  }
}

function secondsUntil(missing: number, perSecond: number): number {
  return missing > 0 ? missing / perSecond : 0;
}
