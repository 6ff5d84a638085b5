import { ConnectionsError } from '../errors.js';
import { inOwnContext } from '../own-context.js';
import type { Frame } from '../wire/frame.js';
import type { ClusterAdapter } from './adapter.js';
import { encodeBatch } from './batch.js';
import { ALL } from './channels.js';
import type { NodeIdentity, Sequence } from './identity.js';
import type { PublishQueue } from './publish-queue.js';
import { HEADER_BYTES, RecordType } from './wire.js';

/** A batch is cut at this size: brokers and receivers handle many of them better than one large one, in bytes. */
const MAX_BATCH_BYTES = 256 * 1024;
/** The longest varint, in bytes. */
const MAX_VARINT_BYTES = 8;
/**
 * A batch waits while the one before it on its channel is not confirmed, but no longer than about this, in ms: at high
 * rates each publish then carries the messages of many turns. One that follows nothing never waits.
 */
const MAX_HOLD_MS = 1;
const FRAMES = Buffer.of(RecordType.Frames);

/** A record that waits for the end of the turn. */
export interface OutgoingRecord {
  /** Type and body. */
  readonly head: Buffer;
  /** The end of the body. */
  readonly frame?: Frame | undefined;
  /** It is worth nothing later: dropped while the broker takes nothing. */
  readonly isUrgent: boolean;
  /** It is in the batch of that sequence. */
  readonly onSequence?: ((sequence: number) => void) | undefined;
  /** How many nodes receive it, where the broker tells. */
  readonly onPublished?: ((receivers: number | undefined, sequence: number) => void) | undefined;
  readonly onDropped?: (() => void) | undefined;
}

/** A record as a batch takes it. */
interface Encoded {
  readonly chunks: readonly Buffer[];
  readonly byteLength: number;
}

/** Broadcasts to everybody that follow each other become one record. */
interface Run {
  readonly frames: Frame[];
}

type Item = OutgoingRecord | Run;

/** What waits for one channel. */
interface Log {
  items: Item[];
  byteLength: number;
  /** Somebody waits for an answer. */
  isUrgent: boolean;
  /** Since when it waits although its turn has ended; `undefined` while that has not. */
  heldSinceMs: number | undefined;
}

/** What the relay tells. None of this runs code of the user. */
export interface RelayHooks {
  /** Schedules a flush of the relay at the end of the turn. */
  schedule(): void;
  /** Which subscription of ours to the channel the broker has confirmed; `undefined`: none. */
  confirmationOf(channel: string): number | undefined;
  /** @param confirmation of the channel when the batch was handed to the broker */
  onPublished(
    channel: string,
    sequence: number,
    receivers: number | undefined,
    confirmation: number | undefined,
  ): void;
  onError(error: Error): void;
}

/**
 * What this node says in a turn: one batch for each channel, published at the end of the turn, in the order of calls.
 */
export class Relay {
  readonly #adapter: ClusterAdapter;
  readonly #queue: PublishQueue;
  readonly #identity: NodeIdentity;
  readonly #hooks: RelayHooks;
  readonly #logs = new Map<string, Log>();
  /** Batches that are not confirmed yet, by channel. */
  readonly #unconfirmed = new Map<string, number>();
  #holdTimer: NodeJS.Timeout | undefined;

  constructor(adapter: ClusterAdapter, queue: PublishQueue, identity: NodeIdentity, hooks: RelayHooks) {
    this.#adapter = adapter;
    this.#queue = queue;
    this.#identity = identity;
    this.#hooks = hooks;
  }

  /** The longest batch that can be published at all. */
  get #maxBytes(): number {
    return Math.min(this.#adapter.traits.maxMessageBytes, this.#queue.maxBytes);
  }

  /** A broadcast to everybody in the namespace of the channel. */
  addFrame(channel: string, frame: Frame): void {
    const log = this.#logFor(channel, frame.byteLength);
    if (log === undefined) return;
    const last = log.items.at(-1);
    if (last !== undefined && 'frames' in last) {
      last.frames.push(frame);
    } else {
      log.items.push({ frames: [frame] });
      log.byteLength += 1 + MAX_VARINT_BYTES;
    }
    log.byteLength += frame.byteLength;
  }

  add(channel: string, record: OutgoingRecord): void {
    const byteLength = record.head.length + (record.frame?.byteLength ?? 0);
    const log = this.#logFor(channel, byteLength);
    if (log === undefined) {
      record.onDropped?.();
      return;
    }
    log.items.push(record);
    log.byteLength += byteLength + MAX_VARINT_BYTES;
    log.isUrgent ||= record.isUrgent;
    if (log.isUrgent && log.heldSinceMs !== undefined) this.#hooks.schedule();
  }

  /** The end of a turn: publishes what waits, as far as the broker takes it. */
  flush(): void {
    for (const [channel, log] of this.#logs) if (!this.#isHeld(channel, log)) this.#cut(channel);
  }

  /** Publishes all that waits, now. */
  end(): void {
    clearTimeout(this.#holdTimer);
    for (const channel of this.#logs.keys()) this.#cut(channel);
  }

  /** Publishes a record on its own, at once, also while nothing else is. */
  publishNow(
    channel: string,
    head: Buffer,
    onPublished: (receivers: number | undefined, sequence: number) => void,
    onDropped: (error: Error | undefined) => void,
  ): void {
    const [bytes, state] = this.#encode(channel, [{ chunks: [head], byteLength: head.length }]);
    const sequence = state.next - 1;
    const published = (receivers: number | undefined): void => {
      state.starts = false;
      onPublished(receivers, sequence);
    };
    this.#queue.publish({ channel, bytes, messages: 0, isUrgent: true, onPublished: published, onDropped });
  }

  /** @returns `undefined` if a record of that size cannot be published at all */
  #logFor(channel: string, byteLength: number): Log | undefined {
    if (HEADER_BYTES + MAX_VARINT_BYTES + 1 + byteLength > this.#maxBytes) {
      this.#queue.drop(1);
      const what = `A message of ${byteLength} bytes is too large: other nodes do not get it`;
      const bounds = `The broker takes ${this.#adapter.traits.maxMessageBytes} bytes, and maxQueuedBytes allows ${this.#queue.maxBytes}`;
      this.#hooks.onError(new ConnectionsError('ERR_RELAY_TOO_LARGE', `${what}. ${bounds}`));
      return undefined;
    }
    const log = this.#logs.get(channel);
    const isFull =
      log !== undefined &&
      log.byteLength + byteLength + HEADER_BYTES + 2 * MAX_VARINT_BYTES >
        Math.min(MAX_BATCH_BYTES, this.#maxBytes);
    if (isFull) this.#cut(channel);
    else if (log !== undefined) return log;
    const fresh = { items: [], byteLength: 0, isUrgent: false, heldSinceMs: undefined };
    this.#logs.set(channel, fresh);
    this.#hooks.schedule();
    return fresh;
  }

  #isHeld(channel: string, log: Log): boolean {
    if (log.isUrgent || !this.#queue.isOpen || !this.#queue.isEmpty || !this.#unconfirmed.has(channel))
      return false;
    const nowMs = performance.now();
    log.heldSinceMs ??= nowMs;
    if (nowMs - log.heldSinceMs >= MAX_HOLD_MS) return false;
    this.#holdTimer ??= inOwnContext(() => setTimeout(this.#onHeld, MAX_HOLD_MS));
    return true;
  }

  readonly #onHeld = (): void => {
    this.#holdTimer = undefined;
    this.#hooks.schedule();
  };

  /** The broker has answered, or the batch was dropped. */
  #onSettled(channel: string): void {
    const others = (this.#unconfirmed.get(channel) ?? 1) - 1;
    if (others > 0) {
      this.#unconfirmed.set(channel, others);
      return;
    }
    this.#unconfirmed.delete(channel);
    if (this.#logs.get(channel)?.heldSinceMs !== undefined) this.#hooks.schedule();
  }

  /** Ends the batch of a channel, and hands it to the queue. */
  #cut(channel: string): void {
    const { items } = this.#logs.get(channel) as Log;
    this.#logs.delete(channel);
    const sent = (this.#queue.isOpen ? items : this.#withoutUrgent(items)).flatMap((item) =>
      this.#intact(item),
    );
    if (sent.length === 0) return;
    const [bytes, state] = this.#encode(channel, sent.map(encodedFrom));
    const sequence = state.next - 1;
    let messages = 0;
    for (const item of sent) messages += 'frames' in item ? item.frames.length : 1;
    const others = sent.filter((item): item is OutgoingRecord => !('frames' in item));
    for (const item of others) item.onSequence?.(sequence);
    this.#unconfirmed.set(channel, (this.#unconfirmed.get(channel) ?? 0) + 1);
    let confirmation: number | undefined;
    const onPublish = (): void => {
      confirmation = this.#hooks.confirmationOf(channel);
    };
    const onPublished = (receivers: number | undefined): void => {
      state.starts = false;
      this.#onSettled(channel);
      this.#hooks.onPublished(channel, sequence, receivers, confirmation);
      for (const item of others) item.onPublished?.(receivers, sequence);
    };
    const onDropped = (): void => {
      this.#onSettled(channel);
      for (const item of others) item.onDropped?.();
    };
    const isUrgent = sent.every((item) => 'head' in item && item.isUrgent);
    const batch = { channel, bytes, messages, isUrgent, onPublish, onPublished, onDropped };
    // Heartbeats are published at once. They must not overtake what goes the same way.
    if (channel === ALL) this.#queue.publish(batch);
    else this.#queue.add(batch);
  }

  #withoutUrgent(items: readonly Item[]): Item[] {
    return items.filter((item) => {
      if ('frames' in item || !item.isUrgent) return true;
      this.#queue.drop(1);
      item.onDropped?.();
      return false;
    });
  }

  /** Without large payloads that the caller has transferred meanwhile. */
  #intact(item: Item): Item | [] {
    if (!('frames' in item)) {
      if (item.frame?.isIntact !== false) return item;
      this.#queue.drop(1);
      item.onDropped?.();
      return [];
    }
    const frames = item.frames.filter((frame) => frame.isIntact);
    this.#queue.drop(item.frames.length - frames.length);
    return frames.length > 0 ? { frames } : [];
  }

  #encode(channel: string, records: readonly Encoded[]): readonly [Buffer, Sequence] {
    const sequence = this.#identity.sequenceOf(channel);
    sequence.usedAtMs = performance.now();
    return [encodeBatch(this.#identity.bytes, sequence.next++, sequence.starts, records), sequence];
  }
}

function encodedFrom(item: Item): Encoded {
  const [head, frames] =
    'frames' in item ? [FRAMES, item.frames] : [item.head, item.frame ? [item.frame] : []];
  const chunks = [head];
  let { length: byteLength } = head;
  for (const frame of frames) {
    byteLength += frame.byteLength;
    for (const chunk of frame.chunks) chunks.push(chunk);
  }
  return { chunks, byteLength };
}
