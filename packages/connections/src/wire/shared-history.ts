import type { Agreement } from './agreement.js';
import { MAX_SYNC_DEFLATE_BYTES } from './deflate.js';

/** Smaller payloads are sent plain and do not enter a history: their frames would not get smaller, in bytes. */
const MIN_HISTORY_PAYLOAD_BYTES = 16;

/** Where a compressed broadcast stands in everything that its namespace has broadcast compressed. */
export interface Segment {
  /** Bytes before it, since the namespace began. */
  readonly start: number;
  readonly end: number;
  /** The bytes before it, as far back as the history reaches. */
  readonly dictionary: Buffer;
}

/**
 * What a namespace has broadcast compressed. Every member's window ends with these bytes, so they are the preset
 * dictionary of the next broadcast.
 *
 * @see RFC 7692 §7.2.1: a sender may refer to anything that is in the window
 */
export class SharedHistory {
  readonly #maxBytes: number;
  /** Its bytes are written once: the dictionaries of messages that are still to be compressed are parts of it. */
  #memory: Buffer = Buffer.alloc(0);
  #used = 0;
  #end = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns `undefined` for a payload that is too small to enter the history. */
  append(payload: Buffer): Segment | undefined {
    if (payload.length < MIN_HISTORY_PAYLOAD_BYTES) return undefined;
    const dictionary = this.#memory.subarray(Math.max(0, this.#used - this.#maxBytes), this.#used);
    const start = this.#end;
    this.#end += payload.length;
    const added = payload.subarray(Math.max(0, payload.length - this.#maxBytes));
    if (this.#used + added.length > this.#memory.length) this.#renew(dictionary, added.length);
    this.#memory.set(added, this.#used);
    this.#used += added.length;
    return { start, end: this.#end, dictionary };
  }

  /** Twice as much as is needed, so that what is kept is copied once per `maxBytes`, not with each message. */
  #renew(dictionary: Buffer, addedBytes: number): void {
    const keptBytes = Math.min(dictionary.length, this.#maxBytes - addedBytes);
    this.#memory = Buffer.allocUnsafeSlow(2 * (keptBytes + addedBytes));
    this.#memory.set(dictionary.subarray(dictionary.length - keptBytes));
    this.#used = keptBytes;
  }
}

/** Bytes of a segment's dictionary that fit the window of this agreement. */
export function reach({ windowBits }: Agreement, { dictionary }: Segment): number {
  return Math.min(dictionary.length, 2 ** windowBits);
}

/** The longest dictionary that members in step can be sent the segment with. */
export function fullDictionary(agreement: Agreement, segment: Segment): Buffer {
  return segment.dictionary.subarray(segment.dictionary.length - reach(agreement, segment));
}

/** The dictionary for members whose windows hold the history from `from` on. */
export function dictionaryFrom(
  payloadBytes: number,
  agreement: Agreement,
  segment: Segment,
  from: number,
): Buffer {
  const { dictionary, start } = segment;
  const full = reach(agreement, segment);
  const held = Math.max(0, Math.min(full, start - from));
  // A large message is compressed in the thread pool before it is known who lacks how much: all or nothing.
  const used = held < full && payloadBytes > MAX_SYNC_DEFLATE_BYTES ? 0 : held;
  return dictionary.subarray(dictionary.length - used);
}
