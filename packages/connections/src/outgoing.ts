import type { Counters } from './counters.js';
import {
  canCompress,
  deflateFrame,
  deflateFrameSync,
  MAX_SYNC_DEFLATE_BYTES,
  NO_DICTIONARY,
} from './deflate.js';
import { encodeFrame, type Allocate, type Frame } from './frame.js';
import { dictionaryFor, type Segment } from './history.js';
import { isBlob, isWebSocketMessage } from './message.js';
import type { Compression } from './ws-socket.js';

/** The bytes of a message, where it has any at hand. */
export function frameFor(message: unknown, allocate?: Allocate): Frame | undefined {
  return isWebSocketMessage(message) && !isBlob(message) ? encodeFrame(message, allocate) : undefined;
}

/** What became of one broadcast: `recipients` is the sum of the other three. */
export interface BroadcastResult {
  /** Members of the namespace that the broadcast was meant for: all but the exceptions. */
  readonly recipients: number;
  /** Handed to the socket. Not the same as delivered: only the peer could confirm that. */
  readonly sent: number;
  /** Refused by the slow-reader policy. */
  readonly dropped: number;
  /** Not handed over: the connection is closing, or its socket or handler failed. */
  readonly failed: number;
}

/**
 * One message on its way out, private or broadcast: encoded and framed at most once however many get it, and the
 * count of what became of it.
 */
export class Outgoing {
  /** As the caller passed it: what handlers and generic sockets get. */
  readonly message: unknown;
  readonly isBinary: boolean;
  /** RFC 6455 bytes; `undefined` for a `Blob`, which has to be read first, and for what only handlers take. */
  readonly frame: Frame | undefined;
  /** Bytes on the wire when nothing compresses them. */
  readonly byteLength: number;
  recipients = 1;
  sent = 0;
  dropped = 0;
  failed = 0;
  /** Outcomes still to come from handlers that answer with a promise, and 1 until the rest is counted. */
  #open = 1;
  /** Where its compressions are counted. */
  counters: Counters | undefined;
  #isCompressed = false;
  #compressing = 0;
  /** Where it stands in the shared history of its namespace, if it enters it. */
  segment: Segment | undefined;
  #compressed: Map<Compression, Map<number, Frame | undefined>> | undefined;
  #onResult: ((result: BroadcastResult) => void) | undefined;

  constructor(message: unknown, frame = frameFor(message)) {
    this.message = message;
    this.isBinary = typeof message !== 'string';
    this.frame = frame;
    this.byteLength = this.frame?.byteLength ?? (isBlob(message) ? message.size : 0);
  }

  /** What a socket's own `send()` gets: binary as the bytes of the frame, which the caller cannot change any more. */
  get body(): unknown {
    return this.isBinary && this.frame !== undefined ? this.frame.payload : this.message;
  }

  /** The same message with counts of its own. */
  copy(): Outgoing {
    return new Outgoing(this.message, this.frame);
  }

  /** A compression that was started is not done yet: what is asked for now may differ later. */
  get isCompressing(): boolean {
    return this.#compressing > 0;
  }

  /**
   * Starts what takes long, so that the frame is there when it is written. `false`: nothing has to be waited for,
   * and `onReady` is not called.
   */
  prepare(compression: Compression, dictionary: Buffer, onReady: () => void): boolean {
    const { frame: plain } = this;
    if (plain === undefined || plain.payloadLength <= MAX_SYNC_DEFLATE_BYTES) return false;
    if (compression.isStateless && !canCompress(compression, plain.payloadLength)) return false;
    const variants = this.#variantsOf(compression);
    if (variants.has(dictionary.length)) return false;
    variants.set(dictionary.length, undefined);
    this.#compressing++;
    deflateFrame(plain.payload, this.isBinary, compression, dictionary, (frame) => {
      variants.set(dictionary.length, frame);
      this.#compressing--;
      if (frame !== undefined) this.#countVariant(frame);
      onReady();
    });
    return true;
  }

  /** Whether it will not be compressed because nobody has prepared that. */
  needsPreparation(compression: Compression): boolean {
    const length = this.frame?.payloadLength ?? 0;
    const isLarge = length > MAX_SYNC_DEFLATE_BYTES;
    return isLarge && canCompress(compression, length) && !this.#variantsOf(compression).get(0);
  }

  /** The frame for sockets of that agreement; the plain one, valid for all, where compression does not pay. */
  frameFor(compression: Compression | undefined): Frame {
    const plain = this.frame as Frame;
    if (compression === undefined || !canCompress(compression, plain.payloadLength)) return plain;
    const frame = this.#compress(compression, NO_DICTIONARY);
    return frame !== undefined && frame.byteLength < plain.byteLength ? frame : plain;
  }

  /**
   * The frame for members whose windows hold the history from `runStart` on; `undefined` when it is not compressed
   * yet. Unlike `frameFor` never the plain one instead: all windows must end the same.
   */
  frameAfter(compression: Compression, segment: Segment, runStart: number): Frame | undefined {
    return this.#compress(
      compression,
      dictionaryFor((this.frame as Frame).payloadLength, compression, segment, runStart),
    );
  }

  #compress(compression: Compression, dictionary: Buffer): Frame | undefined {
    const plain = this.frame as Frame;
    const variants = this.#variantsOf(compression);
    let frame = variants.get(dictionary.length);
    if (frame === undefined && plain.payloadLength <= MAX_SYNC_DEFLATE_BYTES) {
      frame = deflateFrameSync(plain.payload, this.isBinary, compression, dictionary);
      variants.set(dictionary.length, frame);
      this.#countVariant(frame);
    }
    return frame;
  }

  #countVariant({ payloadLength }: Frame): void {
    const { counters } = this;
    if (counters === undefined) return;
    if (!this.#isCompressed) counters.compressedMessages++;
    this.#isCompressed = true;
    counters.compressions++;
    counters.compressedBytesIn += this.frame?.payloadLength ?? 0;
    counters.compressedBytesOut += payloadLength;
  }

  /** Counts one recipient when its handler's promise settles. */
  countLater(handedOver: PromiseLike<unknown>, onError: (error: unknown) => void): void {
    this.#open++;
    handedOver.then(
      (answer) => this.#countOne(answer !== false),
      (error: unknown) => {
        this.#countOne(false);
        onError(error);
      },
    );
  }

  /** Everything that could be counted at once has been. */
  finish(): void {
    if (--this.#open === 0) this.#onResult?.(this.#result);
  }

  get isFinished(): boolean {
    return this.#open === 0;
  }

  /** Of a private message: whether it was sent. To be asked for once, instead of `result`. */
  isSent(): boolean | Promise<boolean> {
    if (this.isFinished) return this.sent === 1;
    return new Promise((resolve) => (this.#onResult = ({ sent }) => resolve(sent === 1)));
  }

  /** Resolves when every recipient is counted. To be asked for once, and before `finish`. */
  result(): Promise<BroadcastResult> {
    return new Promise((resolve) => (this.#onResult = resolve));
  }

  get #result(): BroadcastResult {
    const { recipients, sent, dropped, failed } = this;
    return { recipients, sent, dropped, failed };
  }

  /** By the length of the dictionary: as each is the end of the same bytes, that tells them apart. */
  #variantsOf(compression: Compression): Map<number, Frame | undefined> {
    this.#compressed ??= new Map();
    let variants = this.#compressed.get(compression);
    if (variants === undefined)
      this.#compressed.set(compression, (variants = new Map<number, Frame | undefined>()));
    return variants;
  }

  #countOne(isSent: boolean): void {
    if (isSent) this.sent++;
    else this.failed++;
    this.finish();
  }
}
