import type { Agreement } from '../wire/agreement.js';
import type { Encoding } from '../wire/encoding.js';
import { gather, totalLength, type Frame } from '../wire/frame.js';
import type { Segment } from '../wire/shared-history.js';
import type { Delivery, Outcome } from './delivery.js';
import type { Envelope } from './envelope.js';

/** Messages to rooms up to this size go uncompressed to members that share a history, which keeps them in step, in bytes. */
const MAX_PLAIN_BYTES = 1024;
/** Messages for some members alone are all put together up to this size, in bytes. */
const MAX_JOINED_BYTES = 16 * 1024;
/**
 * Beyond it those up to this size are, if several members get the same: as a chunk of its own, one that waits would cost as
 * much as its copy, in bytes.
 */
const MAX_COPIED_BYTES = 320;

/** One broadcast in the log of a turn. */
export interface Entry {
  readonly envelope: Envelope;
  readonly delivery: Delivery;
  /** For the whole namespace, but for members that skip it; otherwise for those that pick it. */
  readonly isForAll: boolean;
  /** A newer message under the same key may replace it while it waits. */
  readonly conflate: string | undefined;
  /** When a message that is being compressed goes out uncompressed instead, on the clock of `performance.now()`. */
  readonly plainAtMs: number;
}

/** The bytes of a slice in one encoding. */
export interface EncodedSlice extends Encoding {
  readonly chunks: readonly Buffer[];
  readonly byteLength: number;
  /** Where the recipient's run of the history starts over: a message was not compressed in time. */
  readonly restart: number | undefined;
  /** It ends the recipient's run: the last that was compressed is not part of the history. */
  readonly endsRun: boolean;
  /** Where each message begins in a single chunk, and where the last one ends. */
  offsets: readonly number[] | undefined;
  /** Small messages are chunks of their own: nobody else has asked for these bytes yet. */
  readonly isLoose: boolean;
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
  /** Some message is compressed for members that share the history, and not part of it. */
  readonly isForeignToHistory: boolean;
  /** Some message may be held back. */
  readonly isConflated: boolean;
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
  readonly #isForSome: boolean;
  readonly #encoded: EncodedSlice[] = [];
  #whole: Slice | undefined;
  #at = 0;
  /** Its part of the bytes of the whole, as cut out last. */
  #part: EncodedSlice | undefined;

  /** @param isForSome some of the messages are for some members alone */
  constructor(entries: readonly Entry[], isForSome = false) {
    this.entries = entries;
    this.#isForSome = isForSome;
    let byteLength = 0;
    let isFramed = true;
    let isForeign = false;
    let isConflated = false;
    let isForeignToHistory = false;
    let first: Segment | undefined;
    let end = 0;
    for (const entry of entries) {
      const { envelope, conflate } = entry;
      isConflated ||= conflate !== undefined;
      isForeignToHistory ||= isSelfContained(entry);
      byteLength += envelope.byteLength;
      isFramed &&= envelope.frame !== undefined;
      isForeign ||= envelope.frame?.isOwned === false;
      if (envelope.segment === undefined) continue;
      first ??= envelope.segment;
      end = envelope.segment.end;
    }
    this.byteLength = byteLength;
    this.isConflated = isConflated;
    this.isForeignToHistory = isForeignToHistory;
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
    this.#part = undefined;
  }

  /** Some message is still being compressed and is not overdue. */
  isWaiting(nowMs: number): boolean {
    return this.entries.some(({ envelope, plainAtMs }) => nowMs < plainAtMs && envelope.isCompressing);
  }

  /** Counts each message as sent to everybody that got the whole slice. */
  countRecipients(): void {
    this.#countCopies('sent', this.recipients);
    this.recipients = 0;
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
    for (const known of this.#encoded)
      if (known.agreement === agreement && known.from === from)
        return known.isLoose ? this.#tighten(known) : known;
    const cut = from === undefined ? this.#cut(agreement, mayPin) : undefined;
    if (cut !== undefined) return cut;
    const encoded = this.#encode(agreement, from);
    // Asked for before the compression is done, by a connection that closes: the others get something better.
    if (!this.#isCompressing) this.#encoded.push(encoded);
    return encoded;
  }

  #encode(agreement: Agreement | undefined, from: number | undefined): EncodedSlice {
    if (agreement !== undefined && from !== undefined) return this.#encodeAfter(agreement, from);
    const frames = this.entries.map(({ envelope }) => envelope.frameFor({ agreement, from }));
    return { agreement, from, ...this.#joined(frames), restart: undefined, endsRun: false };
  }

  /**
   * A list of picks may be that of one connection alone, and there may be thousands of such lists. So a large slice of
   * picks is not put together for the first who asks: its chunks are those of the messages, which all share.
   */
  #joined(frames: readonly Frame[]): Pick<EncodedSlice, 'chunks' | 'byteLength' | 'offsets' | 'isLoose'> {
    const isLoose = this.#isForSome && this.byteLength > MAX_JOINED_BYTES;
    const chunks = isLoose ? frames.flatMap((frame) => frame.chunks) : gather(frames);
    const offsets = chunks.length === 1 ? offsetsOf(frames) : undefined;
    return { chunks, byteLength: totalLength(chunks), offsets, isLoose };
  }

  /** The second one asks: several members have the same list, and small messages are put together for them. */
  #tighten(loose: EncodedSlice): EncodedSlice {
    const tight = { ...loose, chunks: gather([loose], MAX_COPIED_BYTES), isLoose: false };
    this.#encoded[this.#encoded.indexOf(loose)] = tight;
    return tight;
  }

  /** For members whose windows hold the history from `from` on. */
  #encodeAfter(agreement: Agreement, from: number): EncodedSlice {
    let restart: number | undefined;
    let start = from;
    let endsRun = false;
    const frames = this.entries.map((entry) => {
      const { envelope } = entry;
      const { segment, frame: plain } = envelope as { segment?: Segment; frame: Frame };
      if (segment === undefined) {
        const frame = isSelfContained(entry) ? envelope.frameFor({ agreement, from }) : plain;
        endsRun ||= frame !== plain;
        return frame;
      }
      // Something else has been compressed since the run began: it starts over.
      if (endsRun) restart = start = segment.start;
      endsRun = false;
      const frame = envelope.frameAfter(agreement, segment, start);
      // Not compressed in time: it goes out plain, and the run starts over after it.
      if (frame === undefined) restart = start = segment.end;
      return frame ?? plain;
    });
    return { agreement, from, ...this.#joined(frames), restart, endsRun };
  }

  /** A part of the bytes of the whole turn; `undefined` if it has to be put together on its own. */
  #cut(agreement: Agreement | undefined, mayPin: boolean): EncodedSlice | undefined {
    const whole = this.#whole;
    if (whole === undefined || !whole.isWritable) return undefined;
    if (!mayPin && this.byteLength * 2 < whole.byteLength) return undefined;
    if (this.#part !== undefined && this.#part.agreement === agreement) return this.#part;
    const { chunks, offsets } = whole.encoded(agreement, undefined);
    if (offsets?.length !== whole.entries.length + 1) return undefined;
    const bytes = (chunks[0] as Buffer).subarray(offsets[this.#at], offsets[this.#at + this.entries.length]);
    const own = { chunks: [bytes], byteLength: bytes.length, offsets: undefined, isLoose: false };
    const part = { agreement, from: undefined, ...own, restart: undefined, endsRun: false };
    if (!this.#isCompressing) this.#part = part;
    return part;
  }

  get #isCompressing(): boolean {
    return this.entries.some(({ envelope }) => envelope.isCompressing);
  }
}

/** A message to rooms is not everybody's, so it cannot be part of the history: its compression refers to nothing. */
function isSelfContained({ envelope, isForAll }: Entry): boolean {
  return !isForAll && (envelope.frame?.payloadLength ?? 0) > MAX_PLAIN_BYTES;
}

function offsetsOf(frames: readonly Frame[]): readonly number[] {
  let end = 0;
  return [0, ...frames.map(({ byteLength }) => (end += byteLength))];
}

/** Its payload was transferred or shrunk by the caller: it cannot be written without breaking the stream. */
export function isLost({ frame }: Envelope): boolean {
  return frame !== undefined && !frame.isIntact;
}
