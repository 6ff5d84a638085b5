import { canCompress, deflateFrame, deflateFrameSync, MAX_SYNC_DEFLATE_BYTES } from './deflate.js';
import { encodeFrame, type Frame } from './frame.js';
import { isBlob, isWebSocketMessage } from './message.js';
import type { Compression } from './ws-socket.js';

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
  #compressed: Map<Compression, Frame | undefined> | undefined;
  #onResult: ((result: BroadcastResult) => void) | undefined;

  constructor(message: unknown) {
    this.message = message;
    this.isBinary = typeof message !== 'string';
    const isImmediate = isWebSocketMessage(message) && !isBlob(message);
    this.frame = isImmediate ? encodeFrame(message) : undefined;
    this.byteLength = this.frame?.byteLength ?? (isBlob(message) ? message.size : 0);
  }

  /** What a socket's own `send()` gets: binary as the bytes of the frame, which the caller cannot change any more. */
  get body(): unknown {
    return this.isBinary && this.frame !== undefined ? this.frame.payload : this.message;
  }

  /**
   * Starts what takes long, so that the frame is there when it is written. `false`: nothing has to be waited for,
   * and `onReady` is not called.
   */
  prepare(compression: Compression, onReady: () => void): boolean {
    const payload = this.frame?.payload;
    if (payload === undefined || payload.length <= MAX_SYNC_DEFLATE_BYTES) return false;
    if (!canCompress(compression, payload.length) || this.#compressed?.has(compression)) return false;
    this.#variants.set(compression, undefined);
    deflateFrame(payload, this.isBinary, compression, (frame) => {
      this.#variants.set(compression, frame);
      onReady();
    });
    return true;
  }

  /** Whether `frameFor` would give up compression because nobody has prepared it. */
  needsPreparation(compression: Compression): boolean {
    const length = this.frame?.payload.length ?? 0;
    return (
      length > MAX_SYNC_DEFLATE_BYTES &&
      canCompress(compression, length) &&
      this.#compressed?.get(compression) === undefined
    );
  }

  /** The frame for sockets of that agreement; the plain one, valid for all, where compression does not pay. */
  frameFor(compression: Compression | undefined): Frame {
    const plain = this.frame as Frame;
    if (compression === undefined || !canCompress(compression, plain.payload.length)) return plain;
    let frame = this.#compressed?.get(compression);
    if (frame === undefined && plain.payload.length <= MAX_SYNC_DEFLATE_BYTES) {
      frame = deflateFrameSync(plain.payload, this.isBinary, compression);
      this.#variants.set(compression, frame);
    }
    return frame !== undefined && frame.byteLength < plain.byteLength ? frame : plain;
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

  /** Resolves when every recipient is counted. To be asked for once. */
  result(): Promise<BroadcastResult> {
    if (this.isFinished) return Promise.resolve(this.#result);
    return new Promise((resolve) => (this.#onResult = resolve));
  }

  get #result(): BroadcastResult {
    const { recipients, sent, dropped, failed } = this;
    return { recipients, sent, dropped, failed };
  }

  get #variants(): Map<Compression, Frame | undefined> {
    return (this.#compressed ??= new Map());
  }

  #countOne(isSent: boolean): void {
    if (isSent) this.sent++;
    else this.failed++;
    this.finish();
  }
}
