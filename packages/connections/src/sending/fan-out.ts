import type { Agreement } from '../wire/agreement.js';
import { MAX_SYNC_DEFLATE_BYTES } from '../wire/deflate.js';
import { SharedHistory } from '../wire/shared-history.js';
import { inOwnContext } from '../own-context.js';
import { BroadcastLog } from './broadcast-log.js';
import { Delivery } from './delivery.js';
import type { EndOfTurn, Flushable, Flushed } from './end-of-turn.js';
import type { Envelope } from './envelope.js';
import type { Outbox, OutboxGroup } from './outbox.js';
import type { Slice } from './slice.js';
import type { SendingContext } from './bounded-socket.js';

/** A log of this size starts to be written before its turn ends, so that a burst cannot fill the memory, in bytes. */
const MAX_LOG_BYTES = 1024 * 1024;
/** How long a message may be held up by its compression before it goes out uncompressed, in ms. */
const MAX_COMPRESSION_MS = 50;
/** Largest part of `maxBufferedBytes` that one log, or messages that wait for their compression, may take. */
const MAX_WAITING_SHARE = 1 / 4;
/** Longer logs are compressed before they are written, and end where the time of the turn does, in messages. */
const MAX_COMPRESSED_AT_ONCE = 16;
/** Members that are written to between two looks at the clock. */
const WRITES_PER_CHECK = 16;

/** One log on its way to all members, which may take several turns. */
interface Walk {
  readonly log: BroadcastLog;
  readonly members: IterableIterator<Outbox>;
  /** All members have been tried on the shared path. */
  isShared: boolean;
}

/**
 * Sends the broadcasts of one namespace to its members.
 *
 * A broadcast only appends to the log of the turn. At the end of the turn the members are walked, and each gets the
 * whole log in one write of one shared buffer: nothing is allocated per recipient. Members that differ (`#irregular`)
 * are served one by one afterwards. No user code runs during the walk, only before and after it.
 *
 * A walk may stop in the middle and go on in the next turn. Members that it has not reached still point to the same
 * log, so their order holds whatever happens in between.
 */
export class FanOut implements OutboxGroup, Flushable {
  readonly #endOfTurn: EndOfTurn;
  readonly #context: SendingContext;
  /** Members that read the log. */
  readonly #followers = new Set<Outbox>();
  /** Members whose `send` is overridden: they get every broadcast at once, as they do their private messages. */
  readonly #overridden = new Set<Outbox>();
  /** Members with something of their own to write, or that the shared path could not serve. */
  readonly #irregular = new Set<Outbox>();
  /** Members with messages that were broadcast to rooms. */
  readonly #pickers = new Set<Outbox>();
  /** How many members have each stateless agreement, and how many share the history under each agreement. */
  readonly #stateless = new Map<Agreement, number>();
  readonly #sharing = new Map<Agreement, number>();
  readonly #history: SharedHistory;
  /** Some members may lack a part of the history. */
  #hasMembersBehind = false;
  /** The log that is written first, and the one that broadcasts are appended to. */
  #first = new BroadcastLog();
  #last = this.#first;
  #walk: Walk | undefined;
  #overdue: NodeJS.Timeout | undefined;

  constructor(endOfTurn: EndOfTurn, context: SendingContext) {
    this.#endOfTurn = endOfTurn;
    this.#context = context;
    this.#history = new SharedHistory(context.historyBytes);
  }

  /** The first log that some member has not got. */
  get first(): BroadcastLog {
    return this.#first;
  }

  /** The log that grows. */
  get last(): BroadcastLog {
    return this.#last;
  }

  add(outbox: Outbox, isOverridden: boolean): void {
    if (isOverridden) {
      this.#overridden.add(outbox);
      return;
    }
    this.#followers.add(outbox);
    const { statelessAgreement, sharedAgreement } = outbox;
    if (statelessAgreement) addOne(this.#stateless, statelessAgreement);
    if (sharedAgreement) addOne(this.#sharing, sharedAgreement);
    this.#hasMembersBehind ||= sharedAgreement !== undefined;
  }

  remove(outbox: Outbox): void {
    this.#irregular.delete(outbox);
    this.#pickers.delete(outbox);
    this.#overridden.delete(outbox);
    if (!this.#followers.delete(outbox)) return;
    const { statelessAgreement, sharedAgreement } = outbox;
    if (statelessAgreement) removeOne(this.#stateless, statelessAgreement);
    if (sharedAgreement) removeOne(this.#sharing, sharedAgreement);
  }

  /** Schedules a flush of this outbox alone at the end of the turn. */
  addIrregular(outbox: Outbox): void {
    this.#irregular.add(outbox);
    this.#endOfTurn.add(this);
  }

  /** Appends a message for the whole namespace. */
  broadcast(envelope: Envelope, exceptions: ReadonlySet<Outbox>, conflate?: string): Delivery {
    const overridden = [...this.#overridden].filter((outbox) => !exceptions.has(outbox));
    const followers = [...exceptions].filter((outbox) => this.#followers.has(outbox));
    const delivery = new Delivery();
    delivery.expect(this.#followers.size - followers.length);
    if (delivery.recipients > 0) {
      for (const outbox of followers) outbox.skipNext();
      if (this.#sharing.size > 0) envelope.enter(this.#history);
      this.#prepare(envelope, this.#stateless.keys(), this.#sharing.keys());
      this.#append(envelope, delivery, conflate, true);
    }
    this.#override(envelope, delivery, overridden);
    this.#startEarly();
    return delivery;
  }

  /** Appends a message for some members. Those that are closing are left out; none gets it twice. */
  broadcastTo(recipients: readonly Outbox[], envelope: Envelope, conflate?: string): Delivery {
    const delivery = new Delivery();
    let overridden: Set<Outbox> | undefined;
    let picked = 0;
    for (const outbox of recipients) {
      const hadPicks = outbox.hasPicks;
      if (outbox.pick(this.#last, envelope.byteLength)) {
        picked++;
        if (!hadPicks) this.#pickers.add(outbox);
      } else if (this.#overridden.has(outbox)) {
        (overridden ??= new Set()).add(outbox);
      }
    }
    delivery.expect(picked);
    if (picked > 0) {
      this.#prepareFor(recipients, envelope);
      this.#append(envelope, delivery, conflate, false);
    }
    if (overridden !== undefined) this.#override(envelope, delivery, [...overridden]);
    this.#startEarly();
    return delivery;
  }

  #append(envelope: Envelope, delivery: Delivery, conflate: string | undefined, isForAll: boolean): void {
    const plainAtMs = performance.now() + MAX_COMPRESSION_MS;
    this.#last.append({ envelope, delivery, isForAll, conflate, plainAtMs });
    this.#endOfTurn.add(this);
  }

  /** Members whose `send` is overridden get it at once, through that. */
  #override(envelope: Envelope, delivery: Delivery, overridden: readonly Outbox[]): void {
    delivery.expect(overridden.length);
    // First all of them, then one after the other: what user code broadcasts meanwhile comes after this everywhere.
    for (const outbox of overridden) outbox.addToOverride(envelope, delivery);
    for (const outbox of overridden) outbox.runOverride();
  }

  /** Starts the compressions that the end of the turn will ask for. */
  #prepare(envelope: Envelope, stateless: Iterable<Agreement>, sharing: Iterable<Agreement>): void {
    envelope.countIn(this.#context.counters);
    envelope.prepare(stateless, sharing, this.#hasMembersBehind, this.#onCompressed);
  }

  /** The same for what these members have agreed. */
  #prepareFor(members: readonly Outbox[], envelope: Envelope): void {
    const [stateless, sharing] = [new Set<Agreement>(), new Set<Agreement>()];
    // Smaller ones are compressed when they are written.
    if (envelope.byteLength > MAX_SYNC_DEFLATE_BYTES) {
      for (const { statelessAgreement, sharedAgreement } of members) {
        if (statelessAgreement) stateless.add(statelessAgreement);
        if (sharedAgreement) sharing.add(sharedAgreement);
      }
    }
    this.#prepare(envelope, stateless, sharing);
  }

  readonly #onCompressed = (): void => {
    this.#endOfTurn.add(this);
  };

  get #maxLogBytes(): number {
    return Math.min(MAX_LOG_BYTES, this.#context.maxBufferedBytes * MAX_WAITING_SHARE);
  }

  /** Starts to write a log if it has become too large to wait for the end of the turn. */
  #startEarly(): void {
    if (this.#last.byteLength < this.#maxLogBytes) return;
    this.#seal(this.#last, this.#last.end);
    if (this.#walk !== undefined) return;
    let waitingBytes = 0;
    for (let log: BroadcastLog | undefined = this.#first; log; log = log.next) waitingBytes += log.byteLength;
    // More must not wait for compressions, or it would make slow readers of everybody.
    const isFull = waitingBytes >= this.#context.maxBufferedBytes * MAX_WAITING_SHARE;
    const nowMs = performance.now();
    this.#flush(nowMs + this.#context.maxFlushMs, isFull ? Infinity : nowMs);
  }

  flush(deadlineMs: number): Flushed {
    return this.#flush(deadlineMs, deadlineMs === Infinity ? Infinity : performance.now());
  }

  /** @param nowMs messages that may wait for their compression until later than that do */
  #flush(deadlineMs: number, nowMs: number): Flushed {
    // User code may flush, or start another walk, from within; each round goes on with the walk that it finds.
    for (;;) {
      const walk = (this.#walk ??= this.#beginWalk(deadlineMs, nowMs));
      if (walk !== undefined && !this.#share(walk, deadlineMs)) return 'some';
      if (!this.#flushIrregular(walk, deadlineMs, nowMs)) return 'some';
      if (this.#walk !== walk) continue;
      if (walk === undefined) return this.#awaitCompression();
      this.#endWalk(walk);
      // A walk of few members stops nowhere itself.
      if (this.#first.end > this.#first.start && performance.now() > deadlineMs) return 'some';
    }
  }

  #beginWalk(deadlineMs: number, nowMs: number): Walk | undefined {
    const log = this.#first;
    let readyEnd = log.readyEnd(nowMs);
    if (readyEnd === log.start) return undefined;
    if (readyEnd - log.start > MAX_COMPRESSED_AT_ONCE) readyEnd = this.#compress(log, readyEnd, deadlineMs);
    if (log === this.#last || readyEnd < log.end) this.#seal(log, readyEnd);
    log.endCompression();
    // Silent rooms and their members cost nothing.
    const members = (log.isForAll ? this.#followers : this.#pickers).values();
    return { log, members, isShared: false };
  }

  /** @returns where the log has to end, so that its members are not kept waiting for the rest */
  #compress(log: BroadcastLog, end: number, deadlineMs: number): number {
    const agreements = [...this.#stateless.keys(), ...this.#sharing.keys()];
    return agreements.length === 0 ? end : log.compress(end, agreements, deadlineMs);
  }

  #seal(log: BroadcastLog, end: number): void {
    const next = log.seal(end);
    if (log === this.#last) this.#last = next;
  }

  /** The shared path. @returns whether everybody was tried */
  #share(walk: Walk, deadlineMs: number): boolean {
    if (walk.isShared) return true;
    const { log, members } = walk;
    let tried = 0;
    // The iterator of a set has no `return`: after a `break` it goes on where it stopped.
    for (const outbox of members) {
      if (!outbox.writeShared(log)) this.#irregular.add(outbox);
      if (++tried % WRITES_PER_CHECK === 0 && performance.now() > deadlineMs) return false;
    }
    walk.isShared = true;
    for (const slice of log.wholes) this.#count(slice);
    this.#groupBehind(log.whole());
    return true;
  }

  #count(slice: Slice): void {
    const { counters } = this.#context;
    counters.writes += slice.recipients;
    counters.messagesSent += slice.recipients * slice.entries.length;
    counters.bytesSent += slice.recipients * slice.byteLength;
    slice.countRecipients();
  }

  /** Members that lack some of the history share one variant: it refers to what the youngest of them holds. */
  #groupBehind(slice: Slice): void {
    if (slice.first === undefined) return;
    let behindFrom = 0;
    this.#hasMembersBehind = false;
    for (const outbox of this.#irregular) {
      this.#hasMembersBehind ||= outbox.sharedAgreement !== undefined;
      behindFrom = Math.max(behindFrom, outbox.behindFrom(slice) ?? 0);
    }
    slice.behindFrom = behindFrom;
  }

  /** @returns whether all irregular members have got what is due */
  #flushIrregular(walk: Walk | undefined, deadlineMs: number, nowMs: number): boolean {
    let flushed = 0;
    for (const outbox of this.#irregular) {
      // User code has ended the walk, or begun one.
      if (this.#walk !== walk) return true;
      if (walk !== undefined) outbox.cut(walk.log);
      if (outbox.awaitsCompression(nowMs)) continue;
      this.#irregular.delete(outbox);
      outbox.flush();
      if (++flushed % WRITES_PER_CHECK === 0 && performance.now() > deadlineMs) return false;
    }
    return true;
  }

  #endWalk({ log }: Walk): void {
    this.#walk = undefined;
    this.#first = log.next as BroadcastLog;
    for (const outbox of this.#pickers) if (!outbox.hasPicks) this.#pickers.delete(outbox);
    log.finish();
  }

  #awaitCompression(): Flushed {
    const plainAtMs = this.#first.plainAtMs;
    clearTimeout(this.#overdue);
    if (plainAtMs === undefined) return 'all';
    const waitMs = Math.max(1, plainAtMs - performance.now());
    this.#overdue = inOwnContext(() => setTimeout(this.#onCompressed, waitMs).unref());
    return 'waiting';
  }
}

function addOne<T>(counts: Map<T, number>, item: T): void {
  counts.set(item, (counts.get(item) ?? 0) + 1);
}

function removeOne<T>(counts: Map<T, number>, item: T): void {
  const others = (counts.get(item) ?? 1) - 1;
  if (others > 0) counts.set(item, others);
  else counts.delete(item);
}
