import type { EventEmitter } from 'node:events';
import type { Counters } from '../counters.js';
import { DEFAULT_CLOSE_TIMEOUT_MS } from '../options.js';
import { hasOtherListeners } from '../sockets/events.js';
import { wheel } from '../liveness/timing-wheel.js';
import { decodeMessage, isBlob, type ReceivedMessage } from '../wire/message.js';
import { HeldMessages, type HeldMessagesOwner } from './held-messages.js';

/** The connection that messages arrive for. */
export interface InboundOwner {
  readonly pool: { readonly settings: { readonly closeTimeout: number } } | undefined;
  readonly counters: Counters | undefined;
  emit(event: 'message', message: ReceivedMessage, isBinary: boolean): void;
  failed(error: unknown): void;
  schedule(atMs: number): void;
}

interface Pausable {
  pause(): void;
  resume(): void;
}

/**
 * Messages on their way in. Those that arrive before the first `message` listener are held; from the moment at which
 * closing begins, none is delivered.
 */
export class Inbound implements HeldMessagesOwner {
  readonly #emitter: EventEmitter;
  readonly #owner: InboundOwner;
  readonly #socket: unknown;
  #held: HeldMessages | undefined;
  #onNewListener: ((event: string) => void) | undefined;
  /** When messages that nobody listens for are given up; 0 before the first one. */
  #heldUntilMs = 0;
  /** Nobody came in time: nothing is held any more. */
  #isUnwanted = false;
  #isSilent = false;
  /** A drain: messages are delivered until the socket has closed. */
  staysOpen = false;

  constructor(emitter: EventEmitter, owner: InboundOwner, socket: unknown) {
    this.#emitter = emitter;
    this.#owner = owner;
    this.#socket = socket;
  }

  get wantsMessages(): boolean {
    return this.#emitter.listenerCount('message') > 0;
  }

  receive(data: unknown, isBinary: boolean): void {
    if (this.#isSilent) {
      this.#ignore(1);
      return;
    }
    if (typeof data === 'object' && !(data instanceof Uint8Array) && isBlob(data)) {
      this.#hold().addBlob(data);
      return;
    }
    const message = decodeMessage(data, isBinary);
    const byteLength = data instanceof Uint8Array ? data.length : sizeOf(message);
    if (this.#held === undefined && this.wantsMessages) this.deliver(message, isBinary, byteLength);
    else if (this.#held === undefined && !this.#mayHold) this.#ignore(1);
    else if (!this.#hold().add(message, isBinary, byteLength)) this.#ignore(1);
  }

  deliver(message: ReceivedMessage, isBinary: boolean, byteLength: number): void {
    if (this.#isSilent) {
      this.#ignore(1);
      return;
    }
    const { counters } = this.#owner;
    if (counters !== undefined) {
      counters.messagesReceived++;
      counters.bytesReceived += byteLength;
    }
    this.#owner.emit('message', message, isBinary);
  }

  failed(error: unknown): void {
    this.#owner.failed(error);
  }

  /** Closing has begun on our side. */
  end(): void {
    if (this.staysOpen) return;
    this.#isSilent = true;
    this.drop();
  }

  /** What is held is not wanted any more. */
  drop(): void {
    if (this.#held === undefined) return;
    this.#ignore(this.#held.drop());
    this.emptied();
  }

  /** The socket has closed: what is held and wanted is still delivered. */
  close(): void {
    if (this.wantsMessages) this.#held?.release();
    this.drop();
  }

  emptied(): void {
    this.#held = undefined;
    if (this.#onNewListener) this.#emitter.off('newListener', this.#onNewListener);
    this.#onNewListener = undefined;
  }

  onDeadline(nowMs: number): void {
    if (this.#held === undefined || this.wantsMessages) return;
    if (nowMs < this.#heldUntilMs) {
      this.#owner.schedule(this.#heldUntilMs);
      return;
    }
    this.#isUnwanted = true;
    this.drop();
  }

  pause(): boolean {
    const { pause, resume } = this.#socket as Partial<Pausable>;
    if (typeof pause !== 'function' || typeof resume !== 'function') return false;
    (this.#socket as Pausable).pause();
    return true;
  }

  resume(): void {
    (this.#socket as Pausable).resume();
  }

  /** A socket on which somebody else listens is left alone. */
  get #mayHold(): boolean {
    return !this.#isUnwanted && !hasOtherListeners(this.#socket);
  }

  #hold(): HeldMessages {
    if (this.#held !== undefined) return this.#held;
    this.#heldUntilMs = wheel.nowMs + (this.#owner.pool?.settings.closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS);
    this.#owner.schedule(this.#heldUntilMs);
    const held = new HeldMessages(this);
    // Emitted before the listener is added.
    this.#onNewListener = (event) => {
      if (event === 'message') queueMicrotask(() => held.release());
    };
    this.#emitter.on('newListener', this.#onNewListener);
    return (this.#held = held);
  }

  #ignore(count: number): void {
    if (this.#owner.counters !== undefined) this.#owner.counters.messagesIgnored += count;
  }
}

function sizeOf(message: ReceivedMessage): number {
  return typeof message === 'string' ? Buffer.byteLength(message) : message.length;
}
