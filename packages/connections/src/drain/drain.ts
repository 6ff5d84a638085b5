import { Connection, coreOf, type AnyConnection } from '../connection.js';
import { coreOfSocket } from '../connection-core.js';
import { inOwnContext } from '../own-context.js';
import { AFTERMATH_MS, type Company } from '../cluster/drainers.js';
import type { NativeWebsocket } from '../sockets/native-websocket.js';
import type { DrainPlan } from './drain-options.js';
import {
  CountsByNamespace,
  newCounts,
  type DrainProgress,
  type DrainReport,
  type MutableCounts,
} from '../drain-report.js';
import { SharedRate } from './shared-rate.js';

/** Ending thousands of sockets at once would hold up the event loop. */
const TERMINATIONS_PER_TURN = 200;
/** A timer that is that late, in ms, tells that the event loop stood still, or the process. */
const STALL_MS = 20;

/** The pool that is drained. */
export interface DrainOwner {
  /** The nodes that may drain at the same time. */
  companyAt(nowMs: number): Company;
  all(): readonly AnyConnection[];
  /** It begins, or ends; or the turn of all has come, or there are some again whose turn has not. */
  changed(): void;
}

/**
 * Closes connections at a controlled pace.
 *
 * Example: 25 connections at 10 per second. In whole batches, 10 are closed now, 10 after a second and 5 after two.
 * With an interval of 100 ms, one is closed now and one every 100 ms. Connections that leave by themselves shorten the
 * plan.
 */
export class Drain {
  readonly #plan: DrainPlan;
  /** Keeps the rate over this drain and the one before it. */
  readonly rate: SharedRate;
  readonly #owner: DrainOwner;
  /** Not gone yet. */
  readonly #open: Set<AnyConnection>;
  /** Connections of sockets that are in no pool. They do not appear in the report. */
  readonly #strangers = new Set<AnyConnection>();
  /** Connections whose turn has not come, the next one last; some may have left by themselves. */
  readonly #queue: AnyConnection[];
  /** Connections that were asked to close and are not gone yet. */
  readonly #asked = new Set<AnyConnection>();
  /** Connections whose turn has come and that are not gone yet, closing already or asked to. */
  readonly #passed = new Set<AnyConnection>();
  readonly #counts = newCounts();
  readonly #namespaces = new CountsByNamespace();
  readonly #startedAtMs = performance.now();
  /** A fraction of a connection that is still to be closed, if a deadline sets the pace. */
  #owed = 0;
  #beyondShare = 0;
  /** The owner knows that the turn of some has not come yet. */
  #isKnownToClose: boolean;
  #wake: () => void = () => undefined;

  constructor(plan: DrainPlan, owner: DrainOwner, earlier?: SharedRate) {
    this.#plan = plan;
    this.#owner = owner;
    this.rate = new SharedRate(plan.maxPerSecond, (nowMs) => owner.companyAt(nowMs), earlier);
    const connections = owner.all();
    for (const { namespace } of connections) this.#namespaces.set(namespace, newCounts());
    this.#open = new Set(connections);
    this.#queue = connections.toReversed();
    for (const socket of plan.sockets) this.#addSocket(socket);
    if (plan.jitter > 0) shuffle(this.#queue);
    this.#isKnownToClose = this.waiting > 0;
  }

  /** Connections whose turn has not come. */
  get waiting(): number {
    return this.#open.size - this.#passed.size;
  }

  /** As in the plan; `undefined` where a deadline sets the pace. */
  get maxPerSecond(): number | undefined {
    return this.#plan.deadlineMs === undefined ? this.#plan.maxPerSecond : undefined;
  }

  /** Adds sockets that are in no pool; they come last. */
  addSockets(sockets: Iterable<NativeWebsocket>): void {
    for (const socket of sockets) this.#addSocket(socket);
    this.#tell();
  }

  #addSocket(socket: NativeWebsocket): void {
    const known = coreOfSocket(socket);
    if (known?.pool !== undefined || known?.isGone) return;
    // Its connection, if it has one, or else one that is made for it.
    const connection = (known?.facade ?? new Connection('', '', socket)) as AnyConnection;
    if (this.#strangers.has(connection)) return;
    this.#strangers.add(connection);
    this.#open.add(connection);
    this.#queue.unshift(connection);
    connection.once('close', () => this.onGone(connection));
  }

  /** A connection is gone; it does not matter which side closed it. */
  onGone(connection: AnyConnection): void {
    if (!this.#open.delete(connection)) return;
    this.#passed.delete(connection);
    const wasAsked = this.#asked.delete(connection);
    if (!this.#strangers.has(connection)) {
      const outcome = !wasAsked ? 'left' : coreOf(connection).wasTerminated ? 'terminated' : 'closed';
      this.#counts[outcome]++;
      (this.#namespaces.get(connection.namespace) as MutableCounts)[outcome]++;
    }
    if (this.#open.size === 0) this.#wake();
    this.#tell();
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
    const namespaces = this.#namespaces;
    return { ...this.#counts, beyondShare: this.#beyondShare, tookMs: this.#elapsedMs, namespaces };
  }

  get #elapsedMs(): number {
    return performance.now() - this.#startedAtMs;
  }

  #progress(): DrainProgress {
    return { ...this.#counts, remaining: this.#open.size, elapsedMs: this.#elapsedMs };
  }

  /** Does what is due. @returns how long there is nothing to do, in ms */
  #step(nowMs: number): number {
    // A socket that its owner has taken back says nothing about it.
    for (const connection of this.#strangers) if (coreOf(connection).isGone) this.onGone(connection);
    const untilDeadlineMs = this.#startedAtMs + (this.#plan.deadlineMs ?? Infinity) - nowMs;
    if (untilDeadlineMs > 0) return Math.min(this.#closeSlice(nowMs), untilDeadlineMs);
    this.#queue.length = 0;
    return this.#terminateSome() ? 0 : this.#plan.intervalMs;
  }

  #closeSlice(nowMs: number): number {
    const jitter = 1 + this.#plan.jitter * (2 * Math.random() - 1);
    const untilNextMs = this.#plan.intervalMs * jitter;
    if (this.#queue.length === 0) return untilNextMs;
    const { deadlineMs, slice } = this.#plan;
    if (deadlineMs !== undefined) {
      this.#closeSome(this.#sliceBy(deadlineMs, nowMs));
      return untilNextMs;
    }
    const blockedMs = this.rate.waitMs(nowMs);
    if (blockedMs > 0) return blockedMs;
    const [due, allowed] = [this.rate.sliceAt(slice, nowMs), this.rate.allowed(nowMs)];
    this.#closeSome(Math.min(due, allowed));
    // What the slice lacks follows as soon as the window has room: after a whole interval it might again be half full.
    return due > allowed ? Math.min(untilNextMs, this.rate.waitMs(performance.now())) : untilNextMs;
  }

  /** How many to close now, so that all have been asked in time for their answers. */
  #sliceBy(deadlineMs: number, nowMs: number): number {
    const { intervalMs, graceMs } = this.#plan;
    const askedByMs = this.#startedAtMs + deadlineMs - Math.min(graceMs, deadlineMs / 2);
    const slices = Math.floor((askedByMs - nowMs) / intervalMs) + 1;
    const { waiting } = this;
    if (slices <= 1) return waiting;
    // The fraction is kept for the next slice: few connections in a long time are spread over all of it.
    this.#owed += waiting / slices;
    const count = Math.floor(this.#owed);
    this.#owed -= count;
    return count;
  }

  /** Tells the owner when the last turn has come, or there are new ones. */
  #tell(): void {
    if (this.#isKnownToClose === this.waiting > 0) return;
    this.#isKnownToClose = !this.#isKnownToClose;
    // Other nodes have taken its share when it had nobody left to close.
    if (this.#isKnownToClose) this.rate.begin();
    this.#owner.changed();
  }

  #closeSome(limit: number): void {
    const { code, reason, graceMs } = this.#plan;
    let count = 0;
    while (count < limit) {
      const connection = this.#queue.pop();
      if (connection === undefined) break;
      if (!this.#open.has(connection)) continue;
      this.#passed.add(connection);
      if (connection.closed) {
        coreOf(connection).limitClosing(graceMs);
        continue;
      }
      count++;
      this.#asked.add(connection);
      coreOf(connection).drain(code, reason, graceMs);
    }
    // Recorded after the slice, so that the time it took does not shorten the pause.
    this.#beyondShare += this.rate.record(performance.now(), count);
    this.#tell();
  }

  /** The deadline has passed. @returns whether some are left to be terminated */
  #terminateSome(): boolean {
    let count = 0;
    for (const connection of this.#open) {
      const core = coreOf(connection);
      if (core.wasTerminated) continue;
      if (++count > TERMINATIONS_PER_TURN) return true;
      this.#asked.add(connection);
      core.abort();
    }
    return false;
  }

  /** Until the time is up, the last connection is gone or the drain is aborted. */
  async #sleep(ms: number): Promise<void> {
    const dueAtMs = performance.now() + ms;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = inOwnContext(() => setTimeout(resolve, ms));
    });
    clearTimeout(timer);
    const lateMs = performance.now() - dueAtMs;
    // After a stall timers come before the network. What other nodes have said meanwhile is read first.
    if (lateMs >= STALL_MS) await new Promise((resolve) => setImmediate(resolve));
    if (lateMs < AFTERMATH_MS) return;
    // The process was stopped: other nodes may have taken it for dead, and its share for theirs.
    this.rate.begin();
    this.#owner.changed();
  }
}

/** Fisher-Yates. */
function shuffle(items: unknown[]): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other], items[last]];
  }
}
