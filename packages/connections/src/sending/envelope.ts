import type { Counters } from '../counters.js';
import { canCompress, compressAlike, type Agreement } from '../wire/agreement.js';
import { deflateFrame, deflateFrameSync, MAX_SYNC_DEFLATE_BYTES, NO_DICTIONARY } from '../wire/deflate.js';
import type { Encoding } from '../wire/encoding.js';
import { encodeFrame, type Allocate, type Frame } from '../wire/frame.js';
import { isBlob, isWebSocketMessage, likeMessage } from '../wire/message.js';
import { dictionaryFrom, fullDictionary, type Segment, type SharedHistory } from '../wire/shared-history.js';

/** One compressed form of a message; all dictionaries are ends of the same bytes, so their length identifies them. */
interface Variant {
  readonly agreement: Agreement;
  readonly dictionaryBytes: number;
  /** `undefined` while the thread pool works on it, and if zlib failed. */
  frame: Frame | undefined;
  isPending: boolean;
}

/** One message on its way out, encoded and framed at most once per encoding, however many recipients it has. */
export class Envelope {
  readonly isBinary: boolean;
  /** `undefined` for a `Blob`, which has to be read first, and for messages that only handlers take. */
  frame: Frame | undefined;
  /** Size of the plain frame, in bytes. */
  readonly byteLength: number;
  /** Where the message stands in the shared history of its namespace, if it is part of it. */
  segment: Segment | undefined;
  /** Decoded when somebody needs it, if another node has framed it. */
  #message: unknown;
  #deferred: unknown;
  #variants: Variant[] | undefined;
  #counters: Counters | undefined;

  constructor(message: unknown, allocate?: Allocate, received?: Frame) {
    this.#message = message;
    this.isBinary = received === undefined ? typeof message !== 'string' : message !== undefined;
    this.frame =
      received ??
      (isWebSocketMessage(message) && !isBlob(message) ? encodeFrame(message, allocate) : undefined);
    this.byteLength = this.frame?.byteLength ?? (isBlob(message) ? message.size : 0);
  }

  /** A message that another node has framed: a string or a `Buffer`. */
  static received(frame: Frame, isBinary: boolean): Envelope {
    return new Envelope(isBinary ? frame.payload : undefined, undefined, frame);
  }

  /** The message exactly as the caller passed it. */
  get message(): unknown {
    if (!this.isBinary) this.#message ??= this.frame?.payload.toString();
    return this.#message;
  }

  /** The message for user code that may use it after the call: the caller may have reused its buffer by then. */
  get deferredMessage(): unknown {
    if (!this.isBinary || this.frame?.chunks.length !== 1) return this.message;
    return (this.#deferred ??= likeMessage(
      this.#message as ArrayBuffer | ArrayBufferView,
      this.frame.payload,
    ));
  }

  /** What a socket's own `send()` gets: the caller's text, or bytes that the caller cannot change any more. */
  get body(): unknown {
    return this.isBinary && this.frame !== undefined ? this.frame.payload : this.message;
  }

  /** Makes the message part of the shared history. From then on the caller cannot change its bytes any more. */
  enter(history: SharedHistory): void {
    if (this.frame === undefined) return;
    this.frame = this.frame.owned();
    this.segment = history.append(this.frame.payload);
  }

  /**
   * Starts the compressions that take long, so that they are done when the message is written.
   *
   * @param onReady called once for each compression that was started
   * @returns how many were started
   */
  prepare(
    stateless: Iterable<Agreement>,
    sharing: Iterable<Agreement>,
    hasMembersBehind: boolean,
    onReady: () => void,
  ): number {
    let started = 0;
    const start = (agreement: Agreement, dictionary: Buffer): void => {
      if (this.#startDeflating(agreement, dictionary, onReady)) started++;
    };
    for (const agreement of stateless) start(agreement, NO_DICTIONARY);
    for (const agreement of sharing) {
      if (this.segment !== undefined) start(agreement, fullDictionary(agreement, this.segment));
      if (this.segment === undefined || hasMembersBehind) start(agreement, NO_DICTIONARY);
    }
    return started;
  }

  /** Where its compressions are counted. */
  countIn(counters: Counters): void {
    this.#counters = counters;
  }

  /** Some compression that was started is not done: what is asked for now may differ later. */
  get isCompressing(): boolean {
    return this.#variants?.some(({ isPending }) => isPending) ?? false;
  }

  /** Does not wait for compressions that are still running: the message goes out plain for those encodings. */
  endCompression(): void {
    for (const variant of this.#variants ?? []) variant.isPending = false;
  }

  /** Whether it would be sent uncompressed because nobody has prepared the compression. */
  needsPreparation({ agreement }: Encoding): boolean {
    if (agreement === undefined) return false;
    const length = this.frame?.payloadLength ?? 0;
    if (length <= MAX_SYNC_DEFLATE_BYTES || !canCompress(agreement, length)) return false;
    return this.#variantOf(agreement, 0)?.frame === undefined;
  }

  /** The frame for sockets with this encoding; the plain one if compression does not pay or is not done. */
  frameFor({ agreement }: Encoding): Frame {
    const plain = this.frame as Frame;
    if (agreement === undefined || !canCompress(agreement, plain.payloadLength)) return plain;
    const frame = this.#compress(agreement, NO_DICTIONARY);
    return frame !== undefined && frame.byteLength < plain.byteLength ? frame : plain;
  }

  /**
   * The frame for members whose windows hold the history from `from` on; `undefined` if it is not compressed yet.
   * Never the plain frame instead: all windows must end with the same bytes.
   */
  frameAfter(agreement: Agreement, segment: Segment, from: number): Frame | undefined {
    const { payloadLength } = this.frame as Frame;
    return this.#compress(agreement, dictionaryFrom(payloadLength, agreement, segment, from));
  }

  /** Compresses it for the members with that agreement that are in step, so that it is done when they are written to. */
  compress(agreement: Agreement): void {
    if (this.frame === undefined) return;
    try {
      if (agreement.isStateless) this.frameFor({ agreement, from: undefined });
      else if (this.segment !== undefined) this.#compress(agreement, fullDictionary(agreement, this.segment));
    } catch {
      // It fails again for each connection that needs it, where it is reported and ends the connection.
    }
  }

  #startDeflating(agreement: Agreement, dictionary: Buffer, onReady: () => void): boolean {
    const { frame: plain } = this;
    if (plain === undefined || plain.payloadLength <= MAX_SYNC_DEFLATE_BYTES) return false;
    if (agreement.isStateless && !canCompress(agreement, plain.payloadLength)) return false;
    if (this.#variantOf(agreement, dictionary.length) !== undefined) return false;
    const variant = this.#addVariant(agreement, dictionary, undefined);
    variant.isPending = true;
    deflateFrame(plain.payload, this.isBinary, agreement, dictionary, (frame) => {
      if (!variant.isPending) return;
      variant.frame = frame;
      variant.isPending = false;
      if (frame !== undefined) this.#count(frame);
      onReady();
    });
    return true;
  }

  #compress(agreement: Agreement, dictionary: Buffer): Frame | undefined {
    const variant = this.#variantOf(agreement, dictionary.length);
    const plain = this.frame as Frame;
    if (variant !== undefined || plain.payloadLength > MAX_SYNC_DEFLATE_BYTES) return variant?.frame;
    const frame = deflateFrameSync(plain.payload, this.isBinary, agreement, dictionary);
    this.#addVariant(agreement, dictionary, frame);
    this.#count(frame);
    return frame;
  }

  #variantOf(agreement: Agreement, dictionaryBytes: number): Variant | undefined {
    const inputBytes = (this.frame?.payloadLength ?? 0) + dictionaryBytes;
    return this.#variants?.find(
      (variant) =>
        variant.dictionaryBytes === dictionaryBytes &&
        compressAlike(variant.agreement, agreement, inputBytes),
    );
  }

  #addVariant(agreement: Agreement, dictionary: Buffer, frame: Frame | undefined): Variant {
    const variant: Variant = { agreement, dictionaryBytes: dictionary.length, frame, isPending: false };
    (this.#variants ??= []).push(variant);
    return variant;
  }

  #count({ payloadLength }: Frame): void {
    const counters = this.#counters;
    if (counters === undefined) return;
    const isFirst = this.#variants?.filter(({ frame }) => frame !== undefined).length === 1;
    if (isFirst) counters.compressedMessages++;
    counters.compressions++;
    counters.compressedBytesIn += this.frame?.payloadLength ?? 0;
    counters.compressedBytesOut += payloadLength;
  }
}
