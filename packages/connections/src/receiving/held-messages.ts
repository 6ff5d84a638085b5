import { Fifo } from '../fifo.js';
import type { ReceivedMessage } from '../wire/message.js';

/** Messages that arrive before anybody listens are kept in memory up to this size, in bytes. */
const MAX_HELD_BYTES = 64 * 1024;
/** The same as a number of messages, as empty ones need memory too. */
const MAX_HELD_MESSAGES = 1_024;
/**
 * What a socket may still deliver after it was paused, in bytes. `ws` has read up to some 128 KiB by then, which may
 * inflate to much more.
 */
const MAX_BYTES_AFTER_PAUSE = 4 * 1024 * 1024;
/** What a held message counts beside its payload while the socket is paused, in bytes. */
const MESSAGE_BYTES = 128;

/** The connection that messages are held for. */
export interface HeldMessagesOwner {
  /** Somebody listens for messages. */
  readonly wantsMessages: boolean;
  deliver(message: ReceivedMessage, isBinary: boolean, byteLength: number): void;
  /** Whether the rate limit allows a message that waited for it now. If not, `release` is called again in time. */
  admit(byteLength: number): boolean;
  failed(error: unknown): void;
  /** Stops reading from the socket, if it can. @returns whether it did */
  pause(): boolean;
  resume(): void;
  /** Everything has been delivered. */
  emptied(): void;
}

interface Held {
  /** `undefined` while a `Blob` is being read. */
  message: ReceivedMessage | undefined;
  readonly isBinary: boolean;
  readonly byteLength: number;
  /** It waits for the rate limit. */
  readonly isLimited: boolean;
}

/**
 * Messages that cannot be delivered yet, in order: nobody listens, a `Blob` before them is still being read, or the rate
 * limit does not allow them yet.
 *
 * The socket is paused when they exceed 64 KiB or 1,024 messages, and when one waits for the rate limit. If it cannot
 * be paused, further messages are lost, unless they wait only for a `Blob`.
 */
export class HeldMessages {
  /** When they are given up if nobody listens, on the wheel's clock. */
  untilMs: number;
  /** How their socket has closed, if it has: that waits for them. */
  close: { readonly code: number; readonly reason: unknown } | undefined;
  readonly #owner: HeldMessagesOwner;
  readonly #queue = new Fifo<Held>();
  #bytes = 0;
  /** How many of them wait for the rate limit. */
  #limited = 0;
  /** Since the socket was paused. */
  #bytesAfterPause = 0;
  #isPaused = false;
  #isReleasing = false;
  /** Delivered or dropped: others may be held by now. */
  #isOver = false;

  constructor(owner: HeldMessagesOwner, untilMs: number) {
    this.#owner = owner;
    this.untilMs = untilMs;
  }

  get length(): number {
    return this.#queue.length;
  }

  /** Some of them wait for the rate limit, so everything that arrives after them must wait too. */
  get hasLimited(): boolean {
    return this.#limited > 0;
  }

  /** The socket is paused because of them. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** For the `newListener` event of the connection, which is emitted before the listener is there. */
  readonly onNewListener = (event: string): void => {
    if (event === 'message') queueMicrotask(() => this.release());
  };

  /**
   * @param isLimited it waits for the rate limit
   * @returns `false` if there is no room for the message
   */
  add(message: ReceivedMessage, isBinary: boolean, byteLength: number, isLimited: boolean): boolean {
    if (!this.#mayWait(byteLength, isLimited)) return false;
    this.#push({ message, isBinary, byteLength, isLimited });
    return true;
  }

  /** The same for a message that is still to be read. */
  addBlob(blob: Blob, isLimited: boolean): boolean {
    if (!this.#mayWait(blob.size, isLimited)) return false;
    const held: Held = { message: undefined, isBinary: true, byteLength: blob.size, isLimited };
    this.#push(held);
    this.#read(blob, held);
    return true;
  }

  /** With a listener and without a limit it waits only until Blobs have been read, and is not lost. */
  #mayWait(byteLength: number, isLimited: boolean): boolean {
    return this.#hasRoom(byteLength, isLimited) || (!isLimited && this.#owner.wantsMessages);
  }

  #hasRoom(byteLength: number, isLimited: boolean): boolean {
    if (this.#isPaused) {
      this.#bytesAfterPause += byteLength + MESSAGE_BYTES;
      return this.#bytesAfterPause <= MAX_BYTES_AFTER_PAUSE;
    }
    const isFull = this.#bytes + byteLength > MAX_HELD_BYTES || this.length >= MAX_HELD_MESSAGES;
    if (!isFull && !isLimited) return true;
    this.#bytesAfterPause = 0;
    return (this.#isPaused = this.#owner.pause());
  }

  #push(held: Held): void {
    this.#bytes += held.byteLength;
    if (held.isLimited) this.#limited++;
    this.#queue.push(held);
  }

  #left(held: Held): void {
    this.#bytes -= held.byteLength;
    if (held.isLimited) this.#limited--;
  }

  #read(blob: Blob, held: Held): void {
    blob.arrayBuffer().then(
      (bytes) => {
        held.message = Buffer.from(bytes);
        this.release();
      },
      (error: unknown) => {
        for (const lost of this.#queue.take((one) => one === held)) this.#left(lost);
        this.#owner.failed(error);
        this.release();
      },
    );
  }

  /** Delivers what can be delivered now. */
  release(): void {
    // A Blob may have been read too late, or a listener added meanwhile.
    if (this.#isReleasing || this.#isOver) return;
    this.#isReleasing = true;
    while (this.#owner.wantsMessages) {
      const head = this.#queue.first;
      if (head?.message === undefined) break;
      if (head.isLimited && !this.#owner.admit(head.byteLength)) break;
      this.#queue.shift();
      this.#left(head);
      this.#owner.deliver(head.message, head.isBinary, head.byteLength);
    }
    this.#isReleasing = false;
    if (this.length > 0) return;
    this.#isOver = true;
    this.#resume();
    this.#owner.emptied();
  }

  /** Nobody wants them. */
  drop(): void {
    this.#isOver = true;
    this.#queue.clear();
    this.#bytes = this.#limited = 0;
    this.#resume();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#owner.resume();
  }
}
