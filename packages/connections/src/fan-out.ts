import { Batch } from './batch.js';
import type { Counters } from './counters.js';
import { NO_DICTIONARY } from './deflate.js';
import { History, reach } from './history.js';
import type { Outbox } from './outbox.js';
import type { OutboxContext } from './outbox-owner.js';
import type { BroadcastResult, Outgoing } from './outgoing.js';
import type { Turn } from './turn.js';
import type { Compression } from './ws-socket.js';

/** A turn's log is written at once when it holds this much, so that a burst cannot fill the memory, in bytes. */
const MAX_LOG_BYTES = 1024 * 1024;
/** The same while a message of it is being compressed: past this, it goes out uncompressed instead, in bytes. */
const MAX_LOG_BYTES_WHILE_COMPRESSING = 16 * 1024 * 1024;

/** Above any number of messages that a log can hold. */
const SLICE_KEY_BASE = 2 ** 24;

/**
 * The fan-out of one namespace: the log of what was broadcast in the current turn of the event loop, and the
 * outboxes that it goes to.
 *
 * A broadcast only appends to the log. At the end of the turn every outbox gets what it holds in one write of
 * one shared buffer: nothing is allocated per recipient.
 */
export class FanOut {
  readonly #turn: Turn;
  /** Those who follow the log. */
  readonly #outboxes = new Set<Outbox>();
  /** Those whose `send` is overridden, and gets every broadcast at once. */
  readonly #overridden = new Set<Outbox>();
  /** How many outboxes of each agreement there are: the variants that large messages are compressed to. */
  readonly #compressions = new Map<Compression, number>();
  /** The same for those that share the history. */
  readonly #contextual = new Map<Compression, number>();
  readonly #history: History;
  readonly #counters: Counters;
  /** Some members may be behind the history. */
  #hasBehind = false;
  /** Outboxes that need a message to be of a kind that a WebSocket takes. */
  #strict = 0;
  #log: Outgoing[] = [];
  /** Bytes of the log before each message, and of all of it. */
  #offsets: number[] = [0];
  /** Slices of the log up to its present end or an earlier one, by their bounds: those who need one share it. */
  #slices = new Map<number, Batch>();
  /** Compressions that are running in the thread pool. */
  #compressing = 0;

  constructor(turn: Turn, { historyBytes, counters }: OutboxContext) {
    this.#turn = turn;
    this.#counters = counters;
    this.#history = new History(historyBytes);
  }

  /** Messages in the log. */
  get length(): number {
    return this.#log.length;
  }

  /** Some members take only what a WebSocket takes. */
  get isStrict(): boolean {
    return this.#strict > 0;
  }

  bytesFrom(cursor: number): number {
    return this.#bytes - (this.#offsets[cursor] ?? this.#bytes);
  }

  get #bytes(): number {
    return this.#offsets[this.#log.length] as number;
  }

  add(outbox: Outbox): void {
    if (outbox.isOverridden) this.#overridden.add(outbox);
    else this.#outboxes.add(outbox);
    if (!outbox.takesAnything) this.#strict++;
    const { compression, historyCompression } = outbox;
    if (compression) addOne(this.#compressions, compression);
    if (historyCompression) addOne(this.#contextual, historyCompression);
    this.#hasBehind ||= historyCompression !== undefined;
  }

  remove(outbox: Outbox): void {
    if (!this.#outboxes.delete(outbox) && !this.#overridden.delete(outbox)) return;
    if (!outbox.takesAnything) this.#strict--;
    const { compression, historyCompression } = outbox;
    if (compression) removeOne(this.#compressions, compression);
    if (historyCompression) removeOne(this.#contextual, historyCompression);
  }

  /** Appends to the log; resolves when every member's copy was handed over or refused. */
  broadcast(outgoing: Outgoing, exceptions: readonly Outbox[]): Promise<BroadcastResult> {
    outgoing.recipients = this.#outboxes.size + this.#overridden.size;
    const overridden = new Set(this.#overridden);
    for (const outbox of exceptions) {
      if (this.#outboxes.has(outbox)) outbox.skip(this);
      // One that was just terminated has left already, although its socket has not told yet.
      else if (!overridden.delete(outbox)) continue;
      outgoing.recipients--;
    }
    this.#enterHistory(outgoing);
    this.#log.push(outgoing);
    this.#offsets.push(this.#bytesBeforeLast() + outgoing.byteLength);
    outgoing.counters = this.#counters;
    this.#prepare(outgoing);
    const result = outgoing.result();
    this.#turn.add(this);
    for (const outbox of overridden) outbox.override(outgoing);
    const limit = this.#compressing > 0 ? MAX_LOG_BYTES_WHILE_COMPRESSING : MAX_LOG_BYTES;
    if (this.#bytes >= limit) this.flush();
    return result;
  }

  #enterHistory(outgoing: Outgoing): void {
    if (this.#contextual.size === 0 || outgoing.frame === undefined) return;
    outgoing.segment = this.#history.append(outgoing.frame.payload);
  }

  /** Starts the compressions that take long: all those that the end of the turn will ask for. */
  #prepare(outgoing: Outgoing): void {
    const start = (compression: Compression, dictionary: Buffer): void => {
      if (outgoing.prepare(compression, dictionary, this.#onCompressed)) this.#compressing++;
    };
    for (const compression of this.#compressions.keys()) start(compression, NO_DICTIONARY);
    const { segment } = outgoing;
    if (segment === undefined) return;
    for (const compression of this.#contextual.keys()) {
      const { dictionary } = segment;
      start(compression, dictionary.subarray(dictionary.length - reach(compression, segment)));
      if (this.#hasBehind) start(compression, NO_DICTIONARY);
    }
  }

  #bytesBeforeLast(): number {
    return this.#offsets[this.#log.length - 1] as number;
  }

  #onCompressed = (): void => {
    this.#compressing--;
    this.#turn.add(this);
  };

  /** The log from there to its present end. */
  slice(from: number): Batch {
    const key = from * SLICE_KEY_BASE + this.#log.length;
    let batch = this.#slices.get(key);
    if (batch === undefined) this.#slices.set(key, (batch = new Batch(this.#log.slice(from), false)));
    return batch;
  }

  /** The end of the turn: as `flush`, unless a message is still being compressed, which asks for it again. */
  endTurn(): boolean {
    if (this.#compressing > 0) return false;
    this.flush();
    return true;
  }

  /** Those who are behind the history share one variant: it refers to what the youngest of them holds. */
  #groupBehind(whole: Batch, rest: readonly Outbox[]): void {
    if (!whole.hasSegments) return;
    this.#hasBehind = rest.some(({ historyCompression }) => historyCompression !== undefined);
    if (!this.#hasBehind) return;
    const starts = rest.map((outbox) => outbox.behindFrom(whole) ?? 0);
    whole.behindFrom = starts.reduce((latest, start) => Math.max(latest, start), 0);
  }

  /** Writes everything that was broadcast to everyone, now. */
  flush(): void {
    const log = this.#log;
    if (log.length === 0) return;
    const whole = this.slice(0);
    const rest: Outbox[] = [];
    for (const outbox of this.#outboxes) if (!outbox.writeShared(whole)) rest.push(outbox);
    this.#groupBehind(whole, rest);
    // Up to here no code of the user's ran. What follows may run some, which finds an empty log.
    for (const outbox of rest) outbox.cut();
    const slices = this.#slices;
    for (const [key, slice] of slices) {
      if (slice !== whole) slice.setWhole(whole, Math.floor(key / SLICE_KEY_BASE));
    }
    this.#log = [];
    this.#offsets = [0];
    this.#slices = new Map();
    for (const outbox of rest) outbox.rewind();
    for (const outbox of rest) outbox.settle();
    for (const slice of slices.values()) slice.distributeCounts();
    for (const outgoing of log) outgoing.finish();
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
