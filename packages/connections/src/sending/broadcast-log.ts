import type { Agreement } from '../wire/agreement.js';
import { Picks } from './picks.js';
import { Slice, type Entry } from './slice.js';

const NO_PICKS = new Picks();

/**
 * What a namespace broadcasts in one turn of the event loop, in order.
 *
 * ```
 *  log of this turn   m0  m1  m2  m3      most members: cursor 0, one shared buffer of all four
 *  a: sent x privately after m1           own: [m0 m1] x, cursor 2, then m2 m3 from the log
 *  b: excepted from m2                    own: [m0 m1],   cursor 3
 *  c: joined after m1                     own: nothing,   cursor 2
 *
 *  with rooms         m0  r1  m2  r3      r1 and r3 are for rooms
 *  most members: cursor 0                 m0 m2
 *  d: in both rooms                       cursor 0 and picks 1, 3: all four
 * ```
 *
 * Positions count all broadcasts of the namespace since it began, so that they stay true wherever a log is cut.
 *
 * Logs form a chain: a sealed one gets nothing more, and `next` continues it. A log is done when every member has
 * got it; connections that still point to it have nothing left in it.
 */
export class BroadcastLog {
  /** Position of its first message. */
  readonly start: number;
  /** The list of picks that members begin with. */
  noPicks = new Picks();
  #entries: Entry[] = [];
  #byteLength = 0;
  /** Bytes of the messages for everybody before each position, and of all of them. */
  #offsets: number[] = [0];
  /** Positions of the messages for everybody. */
  #forAll: number[] = [];
  /** Parts that end with the last message, by picks and beginning: connections that need the same part share it. */
  #current = new Map<Picks | undefined, Map<number, Slice>>();
  /** All parts of messages for everybody that were handed out, and where they begin. */
  #parts: { readonly part: Slice; readonly at: number }[] = [];
  #wholes = new Map<Picks | undefined, Slice>();
  #next: BroadcastLog | undefined;
  #isDone = false;

  constructor(entries: readonly Entry[] = [], start = 0) {
    this.start = start;
    for (const entry of entries) this.append(entry);
  }

  /** Position after its last message. */
  get end(): number {
    return this.start + this.#entries.length;
  }

  /** Bytes of all its messages. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** What continues a sealed log. */
  get next(): BroadcastLog | undefined {
    return this.#next;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Some message is for everybody. */
  get isForAll(): boolean {
    return this.#forAll.length > 0;
  }

  /** Some message from there on is for everybody. */
  hasFrom(cursor: number): boolean {
    return (this.#forAll.at(-1) ?? -1) >= cursor;
  }

  /** Bytes of the messages for everybody from there on. */
  bytesFrom(cursor: number): number {
    const total = this.#offsets[this.#entries.length] as number;
    return total - (this.#offsets[Math.max(0, cursor - this.start)] ?? total);
  }

  #keep(entries: Entry[]): void {
    if (entries.length === this.#entries.length) return;
    this.#entries = [];
    this.#byteLength = 0;
    this.#offsets = [0];
    this.#forAll = [];
    for (const entry of entries) this.append(entry);
  }

  append(entry: Entry): void {
    const { byteLength } = entry.envelope;
    const before = this.#offsets[this.#entries.length] as number;
    if (entry.isForAll) this.#forAll.push(this.end);
    this.#entries.push(entry);
    this.#offsets.push(entry.isForAll ? before + byteLength : before);
    this.#byteLength += byteLength;
    this.#current.clear();
  }

  /** The messages from there to the present end: those for everybody, and the picks. */
  from(cursor: number, picks?: Picks): Slice {
    if (cursor <= this.start && this.#next !== undefined) return this.whole(picks);
    let parts = this.#current.get(picks);
    if (parts === undefined) this.#current.set(picks, (parts = new Map<number, Slice>()));
    let part = parts.get(cursor);
    if (part === undefined) {
      part = new Slice(this.#select(cursor, picks), picks !== undefined);
      parts.set(cursor, part);
      if (picks === undefined) this.#placeInWhole(part, cursor);
    }
    return part;
  }

  #select(cursor: number, picks: Picks | undefined): Entry[] {
    const forAll = this.#forAll.slice(this.#countBefore(cursor));
    const positions = picks === undefined ? forAll : forAll.concat(picks.positions());
    if (picks !== undefined && this.isForAll) positions.sort((one, other) => one - other);
    return positions.map((position) => this.#entries[position - this.start] as Entry);
  }

  /** How many messages for everybody come before there. A search by halves: a turn may cut a long log thousands of times. */
  #countBefore(cursor: number): number {
    let [low, high] = [0, this.#forAll.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#forAll[middle] as number) < cursor) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #placeInWhole(part: Slice, cursor: number): void {
    const at = this.#countBefore(cursor);
    if (this.#next !== undefined) part.cutFrom(this.whole(), at);
    else this.#parts.push({ part, at });
  }

  /** All messages of a sealed log that are for everybody, and the picks: what most connections with these picks get. */
  whole(picks?: Picks): Slice {
    let whole = this.#wholes.get(picks);
    if (whole === undefined) {
      whole = new Slice(this.#select(this.start, picks), picks !== undefined);
      this.#wholes.set(picks, whole);
    }
    return whole;
  }

  /** All that was handed out by `whole`. */
  get wholes(): Iterable<Slice> {
    return this.#wholes.values();
  }

  /** Position after the last message that is ready, as all before it are: compressed, or overdue. */
  readyEnd(nowMs: number): number {
    const waiting = this.#entries.findIndex(
      ({ envelope, plainAtMs }) => nowMs < plainAtMs && envelope.isCompressing,
    );
    return waiting === -1 ? this.end : this.start + waiting;
  }

  /**
   * Compresses what is broadcast to everybody, up to that position, as long as there is time. Each sharing member in step
   * is sent the same bytes later.
   *
   * @returns the position after the last message that is compressed; at least one is
   */
  compress(end: number, agreements: readonly Agreement[], deadlineMs: number): number {
    let position = this.start;
    while (position < end) {
      const { envelope, isForAll } = this.#entries[position - this.start] as Entry;
      if (isForAll) for (const agreement of agreements) envelope.compress(agreement);
      position++;
      if (performance.now() > deadlineMs) break;
    }
    return position;
  }

  /** When the first message that is being compressed goes out plain; `undefined` if none is. */
  get plainAtMs(): number | undefined {
    return this.#entries.find(({ envelope }) => envelope.isCompressing)?.plainAtMs;
  }

  /** What is still being compressed goes out plain, to everybody alike. */
  endCompression(): void {
    for (const { envelope } of this.#entries) envelope.endCompression();
  }

  /** Ends the log at that position; the rest, if any, moves to the next one, which is returned. */
  seal(end: number): BroadcastLog {
    const entries = this.#entries;
    const rest = new BroadcastLog(entries.slice(end - this.start), end);
    rest.#next = this.#next;
    this.#next = rest;
    this.#keep(entries.slice(0, end - this.start));
    // It may have been sealed before, with more messages.
    this.#wholes.clear();
    this.#current.clear();
    // Parts that connections hold already can share the bytes of the whole, unless they go on in the next log.
    const parts = this.#parts;
    this.#parts = [];
    for (const { part, at } of parts)
      if (at + part.entries.length <= this.whole().entries.length) part.cutFrom(this.whole(), at);
    return rest;
  }

  /** Every member has got it. Lets go of the messages, as members that got none of them may point to it for long. */
  finish(): void {
    this.#isDone = true;
    // Lists that begin with it reach into later logs.
    this.noPicks = NO_PICKS;
    this.#keep([]);
    this.#current.clear();
    this.#wholes.clear();
    this.#next = undefined;
  }
}
