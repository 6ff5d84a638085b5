import { closeReported, type AnyConnection } from './connection.js';
import type { DrainPlan } from './drain-options.js';
import { kTerminate, kWasTerminated } from './pool-link.js';
import { RateLimiter } from './rate-limiter.js';

/**
 * How much longer than the grace period a close may take, in ms. A connection keeps to its grace period by itself;
 * this is for one whose `close` is overridden and does not.
 */
const OVERDUE_MS = 1_000;

/** What became of connections in a drain. */
export interface DrainCounts {
  /** Closed by the drain: the peer answered the close frame, or was gone, within the grace period. */
  readonly closed: number;
  /** Ended without an answer to their close frame. */
  readonly terminated: number;
  /** Left by themselves, or were closing already, before their turn came. */
  readonly left: number;
}

/** What came of a drain. The three counts add up to the connections that were there when it began. */
export interface DrainReport extends DrainCounts {
  /** From the call to the end of the last connection, in ms. */
  readonly tookMs: number;
  /** The same counts for each namespace. */
  readonly namespaces: ReadonlyMap<string, DrainCounts>;
}

/** How far a drain has come. */
export interface DrainProgress extends DrainCounts {
  /** Connections that are not gone yet. */
  readonly remaining: number;
  readonly elapsedMs: number;
}

type MutableCounts = { -readonly [Outcome in keyof DrainCounts]: number };

/** To end thousands of sockets at once would hold up the event loop. */
const TERMINATIONS_PER_TURN = 200;

const newCounts = (): MutableCounts => ({ closed: 0, terminated: 0, left: 0 });

/**
 * Closes connections at a controlled pace.
 *
 * 25 connections at 10 per second, in whole batches: 10 now, 10 after a second, 5 after two. With an interval of
 * 100 ms: one now and one every 100 ms. Connections that leave by themselves meanwhile shorten the plan.
 */
export class Drain {
  readonly #plan: DrainPlan;
  readonly #limiter: RateLimiter;
  /** Not gone yet. */
  readonly #open: Set<AnyConnection>;
  /** Whose turn has not come, the next one last; some may have left by themselves. */
  readonly #queue: AnyConnection[];
  readonly #asked = new Set<AnyConnection>();
  /** Whose turn has come, and when they are overdue; in the order of that. */
  readonly #overdueAtMs = new Map<AnyConnection, number>();
  readonly #counts = newCounts();
  readonly #namespaces = new Map<string, MutableCounts>();
  readonly #startedAtMs = performance.now();
  /** Less than one connection, where a deadline sets the pace. */
  #owed = 0;
  #wake: () => void = () => undefined;

  constructor(connections: readonly AnyConnection[], plan: DrainPlan) {
    this.#plan = plan;
    this.#limiter = new RateLimiter(plan.maxPerSecond);
    this.#open = new Set(connections);
    this.#queue = connections.toReversed();
    if (plan.jitter > 0) shuffle(this.#queue);
    for (const { namespace } of connections) this.#namespaces.set(namespace, newCounts());
  }

  /** A connection is gone, whoever closed it. */
  onGone(connection: AnyConnection): void {
    if (!this.#open.delete(connection)) return;
    this.#overdueAtMs.delete(connection);
    const wasAsked = this.#asked.delete(connection);
    const outcome = !wasAsked ? 'left' : connection[kWasTerminated] ? 'terminated' : 'closed';
    this.#counts[outcome]++;
    (this.#namespaces.get(connection.namespace) as MutableCounts)[outcome]++;
    if (this.#open.size === 0) this.#wake();
  }

  /** @throws the reason of the plan's signal, once it aborts */
  async run(): Promise<DrainReport> {
    const { signal, onProgress } = this.#plan;
    const onAbort = (): void => this.#wake();
    signal?.addEventListener('abort', onAbort);
    try {
      while (this.#open.size > 0) {
        signal?.throwIfAborted();
        const waitMs = this.#step(performance.now());
        onProgress?.(this.#progress());
        if (this.#open.size > 0 && !signal?.aborted) await this.#sleep(waitMs);
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    return { ...this.#counts, tookMs: this.#elapsedMs, namespaces: this.#namespaces };
  }

  get #elapsedMs(): number {
    return performance.now() - this.#startedAtMs;
  }

  #progress(): DrainProgress {
    return { ...this.#counts, remaining: this.#open.size, elapsedMs: this.#elapsedMs };
  }

  /** Does what is to be done now; returns how long there is nothing to do, in ms. */
  #step(nowMs: number): number {
    this.#terminateOverdue(nowMs);
    const untilDeadlineMs = this.#startedAtMs + (this.#plan.deadlineMs ?? Infinity) - nowMs;
    const waitMs = this.#closeSlice(nowMs);
    if (untilDeadlineMs > 0) return Math.min(waitMs, untilDeadlineMs);
    return this.#isTerminating ? 0 : waitMs;
  }

  /** Some are still to be terminated, in the next turns. */
  get #isTerminating(): boolean {
    for (const connection of this.#open) if (!connection[kWasTerminated]) return true;
    return false;
  }

  #closeSlice(nowMs: number): number {
    const jitter = 1 + this.#plan.jitter * (2 * Math.random() - 1);
    const untilNextMs = this.#plan.intervalMs * jitter;
    if (this.#queue.length === 0) return untilNextMs;
    const blockedMs = this.#limiter.waitMs(nowMs);
    if (blockedMs > 0) return blockedMs;
    const wanted = this.#sliceAt(nowMs);
    const count = this.#closeSome(Math.min(wanted, this.#limiter.allowed(nowMs)));
    // After the slice: what it took is not taken from the pause.
    this.#limiter.record(performance.now(), count);
    return untilNextMs;
  }

  /** Connections to close now, so that all have been asked in time for their answers. */
  #sliceAt(nowMs: number): number {
    const { deadlineMs, slice, intervalMs, graceMs } = this.#plan;
    if (deadlineMs === undefined) return slice;
    const askedByMs = this.#startedAtMs + deadlineMs - Math.min(graceMs, deadlineMs / 2);
    const slices = Math.floor((askedByMs - nowMs) / intervalMs) + 1;
    const waiting = this.#open.size - this.#overdueAtMs.size;
    if (slices <= 1) return waiting;
    // The fraction is kept for the next slice: few connections in a long time are spread over all of it.
    this.#owed += waiting / slices;
    const count = Math.floor(this.#owed);
    this.#owed -= count;
    return count;
  }

  #closeSome(limit: number): number {
    const { code, reason, graceMs } = this.#plan;
    const overdueAtMs = performance.now() + graceMs + OVERDUE_MS;
    let count = 0;
    while (count < limit) {
      const connection = this.#queue.pop();
      if (connection === undefined) break;
      if (!this.#open.has(connection)) continue;
      this.#overdueAtMs.set(connection, overdueAtMs);
      if (connection.closed) continue;
      count++;
      this.#asked.add(connection);
      void closeReported(connection, code, reason);
    }
    return count;
  }

  #terminateOverdue(nowMs: number): void {
    const { deadlineMs } = this.#plan;
    if (deadlineMs !== undefined && nowMs >= this.#startedAtMs + deadlineMs) {
      this.#queue.length = 0;
      this.#terminateSome();
      return;
    }
    for (const [connection, overdueAtMs] of this.#overdueAtMs) {
      if (nowMs < overdueAtMs) return;
      this.#terminate(connection);
    }
  }

  #terminateSome(): void {
    let count = 0;
    for (const connection of this.#open) {
      if (connection[kWasTerminated]) continue;
      if (++count > TERMINATIONS_PER_TURN) return;
      this.#terminate(connection);
    }
  }

  #terminate(connection: AnyConnection): void {
    this.#asked.add(connection);
    this.#overdueAtMs.delete(connection);
    connection[kTerminate]();
  }

  /** Until the time is up, the last connection is gone or the drain is aborted. */
  async #sleep(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

/** Fisher-Yates. */
function shuffle(items: unknown[]): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other], items[last]];
  }
}
