import { Batch } from './batch.js';
import type { Outbox } from './outbox.js';
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
  readonly #outboxes = new Set<Outbox>();
  /** How many outboxes of each agreement there are: the variants that large messages are compressed to. */
  readonly #compressions = new Map<Compression, number>();
  /** Outboxes that need a message to be of a kind that a WebSocket takes. */
  #strict = 0;
  #log: Outgoing[] = [];
  /** Bytes of the log before each message, and of all of it. */
  #offsets: number[] = [0];
  /** Slices of the log up to its present end or an earlier one, by their bounds: those who need one share it. */
  #slices = new Map<number, Batch>();
  /** Compressions that are running in the thread pool. */
  #compressing = 0;

  constructor(turn: Turn) {
    this.#turn = turn;
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
    this.#outboxes.add(outbox);
    if (!outbox.takesAnything) this.#strict++;
    const { compression } = outbox;
    if (compression) this.#compressions.set(compression, (this.#compressions.get(compression) ?? 0) + 1);
  }

  remove(outbox: Outbox): void {
    if (!this.#outboxes.delete(outbox)) return;
    if (!outbox.takesAnything) this.#strict--;
    const { compression } = outbox;
    if (compression === undefined) return;
    const others = (this.#compressions.get(compression) ?? 1) - 1;
    if (others > 0) this.#compressions.set(compression, others);
    else this.#compressions.delete(compression);
  }

  /** Appends to the log; resolves when every member's copy was handed over or refused. */
  broadcast(outgoing: Outgoing, exceptions: readonly Outbox[]): Promise<BroadcastResult> {
    outgoing.recipients = this.#outboxes.size;
    for (const outbox of exceptions) {
      // One that was just terminated has left already, although its socket has not told yet.
      if (!this.#outboxes.has(outbox)) continue;
      outgoing.recipients--;
      outbox.skip(this);
    }
    this.#log.push(outgoing);
    this.#offsets.push(this.#bytesBeforeLast() + outgoing.byteLength);
    for (const compression of this.#compressions.keys()) {
      if (outgoing.prepare(compression, this.#onCompressed)) this.#compressing++;
    }
    const result = outgoing.result();
    this.#turn.add(this);
    const limit = this.#compressing > 0 ? MAX_LOG_BYTES_WHILE_COMPRESSING : MAX_LOG_BYTES;
    if (this.#bytes >= limit) this.flush();
    return result;
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
  endTurn(): void {
    if (this.#compressing === 0) this.flush();
  }

  /** Writes everything that was broadcast to everyone, now. */
  flush(): void {
    const log = this.#log;
    if (log.length === 0) return;
    const whole = this.slice(0);
    const rest: Outbox[] = [];
    for (const outbox of this.#outboxes) if (!outbox.writeShared(whole)) rest.push(outbox);
    // Up to here no code of the user's ran. What follows may run some, which finds an empty log.
    for (const outbox of rest) outbox.cut();
    const slices = this.#slices;
    this.#log = [];
    this.#offsets = [0];
    this.#slices = new Map();
    for (const outbox of rest) outbox.rewind();
    for (const outbox of rest) outbox.settle();
    for (const slice of slices.values()) slice.distributeCounts();
    for (const outgoing of log) outgoing.finish();
  }
}
