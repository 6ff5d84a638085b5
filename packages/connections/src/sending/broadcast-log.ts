import { Slice, type Entry } from './slice.js';

/**
 * What a namespace broadcasts in one turn of the event loop, in order.
 *
 * ```
 *  log of this turn   m0  m1  m2  m3      most members: cursor 0, one shared buffer of all four
 *  a: sent x privately after m1           own: [m0 m1] x, cursor 2, then m2 m3 from the log
 *  b: excepted from m2                    own: [m0 m1],   cursor 3
 *  c: joined after m1                     own: nothing,   cursor 2
 * ```
 *
 * Logs form a chain: a sealed one gets nothing more, and `next` continues it. A log is done when every member has
 * got it; whoever still points to it is at the beginning of the first log that is not done.
 */
export class BroadcastLog {
  #entries: Entry[];
  /** Bytes before each message, and of all of them. */
  #offsets: number[] = [0];
  /** Parts that end with the last message, by their beginning: connections that need the same part share it. */
  #current = new Map<number, Slice>();
  /** All parts that were handed out, and where they begin. */
  #parts: { readonly part: Slice; readonly at: number }[] = [];
  #whole: Slice | undefined;
  #next: BroadcastLog | undefined;
  #isDone = false;

  constructor(entries: Entry[] = []) {
    this.#entries = [];
    for (const entry of entries) this.append(entry);
  }

  get length(): number {
    return this.#entries.length;
  }

  get byteLength(): number {
    return this.#offsets[this.length] as number;
  }

  /** What continues a sealed log. */
  get next(): BroadcastLog | undefined {
    return this.#next;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  bytesFrom(cursor: number): number {
    return this.byteLength - (this.#offsets[cursor] ?? this.byteLength);
  }

  append(entry: Entry): void {
    const before = this.byteLength;
    this.#entries.push(entry);
    this.#offsets.push(before + entry.envelope.byteLength);
    this.#current.clear();
  }

  /** The messages from there to the present end. */
  from(cursor: number): Slice {
    if (cursor === 0 && this.#next !== undefined) return this.whole;
    let part = this.#current.get(cursor);
    if (part === undefined) {
      part = new Slice(this.#entries.slice(cursor));
      this.#current.set(cursor, part);
      if (this.#next !== undefined) part.cutFrom(this.whole, cursor);
      else this.#parts.push({ part, at: cursor });
    }
    return part;
  }

  /** All messages of a sealed log. */
  get whole(): Slice {
    return (this.#whole ??= new Slice(this.#entries));
  }

  /** How many messages from the beginning are ready: compressed, or overdue. */
  readyLength(nowMs: number): number {
    const waiting = this.#entries.findIndex(
      ({ envelope, plainAtMs }) => nowMs < plainAtMs && envelope.isCompressing,
    );
    return waiting === -1 ? this.length : waiting;
  }

  /** When the first message that is being compressed goes out plain; `undefined` if none is. */
  get plainAtMs(): number | undefined {
    return this.#entries.find(({ envelope }) => envelope.isCompressing)?.plainAtMs;
  }

  /** What is still being compressed goes out plain, to everybody alike. */
  endCompression(): void {
    for (const { envelope } of this.#entries) envelope.endCompression();
  }

  /** Ends the log after that many messages; the rest, if any, moves to the next one, which is returned. */
  seal(length: number): BroadcastLog {
    const rest = new BroadcastLog(this.#entries.slice(length));
    rest.#next = this.#next;
    this.#next = rest;
    this.#entries = this.#entries.slice(0, length);
    // It may have been sealed before, with more messages.
    this.#whole = undefined;
    this.#offsets.length = length + 1;
    this.#current.clear();
    // Parts that connections hold already can share the bytes of the whole, unless they go on in the next log.
    for (const { part, at } of this.#parts)
      if (at + part.entries.length <= length) part.cutFrom(this.whole, at);
    this.#parts = [];
    return this.#next;
  }

  /** Every member has got it. Lets go of the messages, as members that got none of them may point to it for long. */
  finish(): void {
    this.#isDone = true;
    this.#entries = [];
    this.#offsets = [0];
    this.#current.clear();
    this.#whole = undefined;
    this.#next = undefined;
  }
}
