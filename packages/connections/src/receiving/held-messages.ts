import type { ReceivedMessage } from '../wire/message.js';

/** Messages that arrive before anybody listens are kept in memory up to this size, in bytes. */
const MAX_HELD_BYTES = 64 * 1024;

/** The connection that messages are held for. */
export interface HeldMessagesOwner {
  /** Somebody listens for messages. */
  readonly wantsMessages: boolean;
  deliver(message: ReceivedMessage, isBinary: boolean, byteLength: number): void;
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
}

/**
 * Messages that cannot be delivered yet, in order: nobody listens, or a `Blob` before them is still being read.
 *
 * When they exceed 64 KiB, the socket is paused. If it cannot be paused, further messages are lost.
 */
export class HeldMessages {
  /** When they are given up, on the wheel's clock. */
  readonly untilMs: number;
  readonly #owner: HeldMessagesOwner;
  readonly #queue: Held[] = [];
  #bytes = 0;
  #isPaused = false;
  #isReleasing = false;

  constructor(owner: HeldMessagesOwner, untilMs: number) {
    this.#owner = owner;
    this.untilMs = untilMs;
  }

  /** For the `newListener` event of the connection, which is emitted before the listener is there. */
  readonly onNewListener = (event: string): void => {
    if (event === 'message') queueMicrotask(() => this.release());
  };

  /** @returns `false` if there is no room for the message */
  add(message: ReceivedMessage, isBinary: boolean, byteLength: number): boolean {
    this.#bytes += byteLength;
    if (this.#bytes > MAX_HELD_BYTES && !this.#isPaused) {
      this.#isPaused = this.#owner.pause();
      if (!this.#isPaused) {
        this.#bytes -= byteLength;
        return false;
      }
    }
    this.#queue.push({ message, isBinary, byteLength });
    return true;
  }

  addBlob(blob: Blob): void {
    const held: Held = { message: undefined, isBinary: true, byteLength: blob.size };
    this.#bytes += blob.size;
    this.#queue.push(held);
    blob.arrayBuffer().then(
      (bytes) => {
        held.message = Buffer.from(bytes);
        this.release();
      },
      (error: unknown) => {
        this.#bytes -= held.byteLength;
        this.#queue.splice(this.#queue.indexOf(held), 1);
        this.#owner.failed(error);
        this.release();
      },
    );
  }

  /** Delivers what can be delivered now. */
  release(): void {
    if (this.#isReleasing) return;
    this.#isReleasing = true;
    while (this.#owner.wantsMessages) {
      const message = this.#queue[0]?.message;
      if (message === undefined) break;
      const { isBinary, byteLength } = this.#queue.shift() as Held;
      this.#bytes -= byteLength;
      this.#owner.deliver(message, isBinary, byteLength);
    }
    this.#isReleasing = false;
    if (this.#queue.length > 0) return;
    this.#resume();
    this.#owner.emptied();
  }

  /** Nobody wants them. @returns how many are dropped */
  drop(): number {
    const { length } = this.#queue;
    this.#queue.length = 0;
    this.#bytes = 0;
    this.#resume();
    return length;
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#owner.resume();
  }
}
