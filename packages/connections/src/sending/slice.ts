import type { Agreement } from '../wire/agreement.js';
import type { Encoding } from '../wire/encoding.js';
import { gather, totalLength, type Frame } from '../wire/frame.js';
import type { Segment } from '../wire/shared-history.js';
import type { Delivery, Outcome } from './delivery.js';
import type { Envelope } from './envelope.js';

/** One broadcast in the log of a turn. */
export interface Entry {
  readonly envelope: Envelope;
  readonly delivery: Delivery;
  /** When a message that is being compressed goes out uncompressed instead, on the clock of `performance.now()`. */
  readonly plainAtMs: number;
}

/** The bytes of a slice in one encoding. */
export interface EncodedSlice extends Encoding {
  readonly chunks: readonly Buffer[];
  readonly byteLength: number;
  /** Where the recipient's run of the history begins anew: a message was not compressed in time. */
  readonly restart: number | undefined;
  /** Where each message begins in a single chunk, and where the last one ends. */
  offsets: readonly number[] | undefined;
}

/**
 * Broadcasts that leave in one write, one after the other. All connections that get exactly these messages share the
 * slice, and its bytes are put together once per encoding.
 */
export class Slice {
  readonly entries: readonly Entry[];
  /** Size of the plain frames, in bytes. */
  readonly byteLength: number;
  /** Every message has a frame: none has to be left to a socket's own `send()`. */
  readonly #isFramed: boolean;
  /** Some payload is the caller's, not a copy. */
  readonly #isForeign: boolean;
  /** The first message that is part of the shared history. */
  readonly first: Segment | undefined;
  /** Where the last of them ends in the history. */
  readonly end: number;
  /**
   * What members that lack some of the history may refer to: bytes from this position on. The one that holds the least
   * decides for all, so that they share one variant.
   */
  behindFrom: number | undefined;
  /** Connections that got the whole slice. Kept here, so that counting costs nothing per message. */
  recipients = 0;
  readonly #encoded: EncodedSlice[] = [];
  #whole: Slice | undefined;
  #at = 0;

  constructor(entries: readonly Entry[]) {
    this.entries = entries;
    let byteLength = 0;
    let isFramed = true;
    let isForeign = false;
    let first: Segment | undefined;
    let end = 0;
    for (const { envelope } of entries) {
      byteLength += envelope.byteLength;
      isFramed &&= envelope.frame !== undefined;
      isForeign ||= envelope.frame?.isOwned === false;
      if (envelope.segment === undefined) continue;
      first ??= envelope.segment;
      end = envelope.segment.end;
    }
    this.byteLength = byteLength;
    this.#isFramed = isFramed;
    this.#isForeign = isForeign;
    this.first = first;
    this.end = end;
  }

  /**
   * All of it can be written as frames. Asked for each recipient: the caller may transfer or shrink a large payload at
   * any time, and its bytes would then break the stream.
   */
  get isWritable(): boolean {
    return this.#isFramed && !(this.#isForeign && this.entries.some(({ envelope }) => isLost(envelope)));
  }

  /** Tells it that it is a part of `whole`, beginning with the message at that index. */
  cutFrom(whole: Slice, at: number): void {
    this.#whole = whole;
    this.#at = at;
  }

  /** Some message is still being compressed and is not overdue. */
  isWaiting(nowMs: number): boolean {
    return this.entries.some(({ envelope, plainAtMs }) => nowMs < plainAtMs && envelope.isCompressing);
  }

  /** Counts each message as sent to everybody that got the whole slice. */
  countRecipients(): void {
    const { recipients } = this;
    this.recipients = 0;
    if (recipients > 0) this.#countCopies('sent', recipients);
  }

  #countCopies(outcome: Outcome, copies: number): void {
    for (const { delivery } of this.entries) delivery.count(outcome, copies);
  }

  /** Counts one copy of each message. */
  count(outcome: Outcome): void {
    this.#countCopies(outcome, 1);
  }

  /**
   * The bytes in that encoding.
   *
   * @param mayPin the recipient has nothing waiting: a part may be cut out of the bytes of the whole turn. A stalled
   * reader gets a copy, so that it never keeps more than its own bytes.
   */
  encoded(agreement: Agreement | undefined, from: number | undefined, mayPin = false): EncodedSlice {
    for (const known of this.#encoded) if (known.agreement === agreement && known.from === from) return known;
    const cut = from === undefined ? this.#cut(agreement, mayPin) : undefined;
    if (cut !== undefined) return cut;
    const encoded = this.#encode(agreement, from);
    // Asked for before the compression is done, by a connection that closes: the others get something better.
    if (!this.entries.some(({ envelope }) => envelope.isCompressing)) this.#encoded.push(encoded);
    return encoded;
  }

  #encode(agreement: Agreement | undefined, from: number | undefined): EncodedSlice {
    let restart: number | undefined;
    let start = from ?? 0;
    const frames: Frame[] = [];
    for (const { envelope } of this.entries) {
      const { segment } = envelope;
      const plain = envelope.frame as Frame;
      if (agreement === undefined || (from !== undefined && segment === undefined)) {
        frames.push(plain);
      } else if (from === undefined || segment === undefined) {
        frames.push(envelope.frameFor({ agreement, from }));
      } else {
        const frame = envelope.frameAfter(agreement, segment, start);
        // Not compressed in time: it goes out plain, and the run begins anew after it.
        if (frame === undefined) restart = start = segment.end;
        frames.push(frame ?? plain);
      }
    }
    const chunks = gather(frames);
    const offsets = chunks.length === 1 ? offsetsOf(frames) : undefined;
    return { agreement, from, chunks, byteLength: totalLength(chunks), restart, offsets };
  }

  /** A part of the bytes of the whole turn; `undefined` if it has to be put together on its own. */
  #cut(agreement: Agreement | undefined, mayPin: boolean): EncodedSlice | undefined {
    const whole = this.#whole;
    if (whole === undefined || !whole.isWritable) return undefined;
    if (!mayPin && this.byteLength * 2 < whole.byteLength) return undefined;
    const { chunks, offsets } = whole.encoded(agreement, undefined);
    if (offsets?.length !== whole.entries.length + 1) return undefined;
    const part = (chunks[0] as Buffer).subarray(offsets[this.#at], offsets[this.#at + this.entries.length]);
    return {
      agreement,
      from: undefined,
      chunks: [part],
      byteLength: part.length,
      restart: undefined,
      offsets: undefined,
    };
  }
}

function offsetsOf(frames: readonly Frame[]): readonly number[] {
  let end = 0;
  return [0, ...frames.map(({ byteLength }) => (end += byteLength))];
}

/** Its payload was transferred or shrunk by the caller: it cannot be written without breaking the stream. */
export function isLost({ frame }: Envelope): boolean {
  return frame !== undefined && !frame.isIntact;
}
