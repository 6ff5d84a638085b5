import { wheel } from '../liveness/timing-wheel.js';

/** Channels in one command at most. */
export const MAX_CHANNELS = 512;

/** A channel that the broker refuses is tried again after a third of a heartbeat, then twice that, … */
const FIRST_RETRY_SHARE = 1 / 3;
/** … up to that many heartbeats. */
const MAX_RETRY_HEARTBEATS = 10;
/** One channel that is refused fails all of its command: they are tried again in halves, soon. */
const HALVE_SHARE = 1 / 30;

/** What is known about one channel that this node wants to hear. */
export class Subscription {
  state: 'wanted' | 'asked' | 'confirmed' | 'failed' = 'wanted';
  /** Nobody wants it since then. */
  unwantedAtMs: number | undefined;
  /** How many may be in the command with it: fewer after each that failed. */
  limit = MAX_CHANNELS;
  /** Commands for it alone that failed. */
  failures = 0;
  retryAtMs = Infinity;
  /** Counts the attempts: an answer to an earlier one is ignored. */
  attempt = 0;
  readonly #waiters: (() => void)[] = [];
  /** The first batch published here whose echo has not come, and since when. */
  #awaited: { readonly sequence: number; readonly sinceMs: number } | undefined;
  /** The last one that has come. */
  #echoed = -1;

  confirm(): void {
    this.state = 'confirmed';
    this.failures = 0;
    this.limit = MAX_CHANNELS;
  }

  /** @param together how many channels the refused command had */
  fail(together: number, heartbeatMs: number, nowMs: number): void {
    this.state = 'failed';
    this.limit = Math.ceil(together / 2);
    const heartbeats =
      together > 1 ? HALVE_SHARE : Math.min(FIRST_RETRY_SHARE * 2 ** this.failures++, MAX_RETRY_HEARTBEATS);
    this.retryAtMs = nowMs + heartbeats * heartbeatMs;
  }

  /** The connection that it was confirmed on is gone. */
  reset(): void {
    this.state = 'wanted';
    this.attempt++;
    this.#awaited = undefined;
  }

  wait(callback: () => void): void {
    this.#waiters.push(callback);
  }

  /** Nobody need wait any longer. */
  settle(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  awaitEcho(sequence: number): void {
    // It may come before the broker confirms the publish.
    if (this.state !== 'confirmed' || sequence <= this.#echoed) return;
    this.#awaited ??= { sequence, sinceMs: wheel.nowMs };
  }

  onEcho(sequence: number): void {
    this.#echoed = Math.max(this.#echoed, sequence);
    if (this.#awaited && sequence >= this.#awaited.sequence) this.#awaited = undefined;
  }

  /** An echo has not come since then. */
  isSilentSince(sinceMs: number): boolean {
    return this.#awaited !== undefined && this.#awaited.sinceMs < sinceMs;
  }
}
