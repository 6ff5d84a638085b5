import type { Batch } from './batch.js';
import { MAX_SYNC_DEFLATE_BYTES } from './deflate.js';
import type { Compression, DeflateWindow } from './ws-socket.js';

/** Payloads below this go out plain and do not enter a history: their frames would not get smaller, in bytes. */
const MIN_HISTORY_PAYLOAD_BYTES = 16;

/**
 * For parts of a turn: they begin at many places, and messages that referred to each other would have to be compressed
 * once for each of these. So none refers to anything.
 */
const EACH_ALONE = Infinity;

/** Where a compressed broadcast stands in what its namespace has broadcast compressed so far. */
export interface Segment {
  /** Bytes before it, since the namespace began. */
  readonly start: number;
  readonly end: number;
  /** What came before it, as far as the history reaches. */
  readonly dictionary: Buffer;
}

/**
 * What a namespace has broadcast compressed: the last bytes of it are what every member's inflating window ends
 * with, and so the preset dictionary of the next broadcast.
 *
 * @see RFC 7692 §7.2.1: a sender chooses what it refers to, as long as that is in the window
 */
export class History {
  readonly #maxBytes: number;
  #tail: Buffer = Buffer.alloc(0);
  #end = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** `undefined`: the payload is too small to enter it. */
  append(payload: Buffer): Segment | undefined {
    if (payload.length < MIN_HISTORY_PAYLOAD_BYTES) return undefined;
    const dictionary = this.#tail;
    const start = this.#end;
    this.#end += payload.length;
    // A new buffer each time: messages that are still to be compressed hold on to the old one.
    const kept = Math.max(0, this.#maxBytes - payload.length);
    this.#tail = Buffer.concat([
      dictionary.subarray(Math.max(0, dictionary.length - kept)),
      payload.subarray(Math.max(0, payload.length - this.#maxBytes)),
    ]);
    return { start, end: this.#end, dictionary };
  }
}

/** Bytes of a segment's dictionary that a window of that agreement can hold. */
export function reach({ windowBits }: Compression, { dictionary }: Segment): number {
  return Math.min(dictionary.length, 2 ** windowBits);
}

/** What a message may refer to for members whose windows hold the history from `runStart` on. */
export function dictionaryFor(
  payloadBytes: number,
  compression: Compression,
  segment: Segment,
  runStart: number,
): Buffer {
  const { dictionary, start } = segment;
  const full = reach(compression, segment);
  const known = Math.max(0, Math.min(full, start - runStart));
  // Large ones are compressed in the thread pool, before it is known who is behind by how much: all or nothing.
  const used = known < full && payloadBytes > MAX_SYNC_DEFLATE_BYTES ? 0 : known;
  return dictionary.subarray(dictionary.length - used);
}

/**
 * How much of a namespace's history one member's window ends with: an unbroken run of segments.
 *
 * Whatever it misses (excepted, dropped, sent plain) leaves a gap, which shows when the next segment does not
 * begin where the run ended. Whatever else is compressed for its socket takes the window over.
 */
export class Run {
  readonly compression: Compression;
  readonly #window: DeflateWindow;
  #start = 0;
  #end = -1;

  constructor(compression: Compression, window: DeflateWindow) {
    this.compression = compression;
    this.#window = window;
  }

  /** From where on the member holds what comes before the batch; the batch's own start for nothing. */
  startFor(batch: Batch): number {
    return this.#window.owner === this && this.#end === batch.start ? this.#start : batch.start;
  }

  /** The member holds everything that the batch refers to as it is compressed for most of them. */
  isInStep(batch: Batch): boolean {
    return this.startFor(batch) <= batch.reachesTo(this.compression);
  }

  /** The bytes of the batch for this member. They have to be written: its window is taken to hold them. */
  take(batch: Batch): readonly Buffer[] {
    const start = this.startFor(batch);
    const fullReach = batch.reachesTo(this.compression);
    const from = start <= fullReach ? fullReach : Math.max(start, batch.behindFrom ?? EACH_ALONE);
    const { chunks, restart } = batch.chunksAfter(this.compression, from);
    this.#start = restart ?? start;
    this.#end = batch.end;
    this.#window.owner = this;
    return chunks;
  }
}
