import type { EventEmitter } from 'node:events';
import { DEFAULT_CLOSE_TIMEOUT_MS } from '../options.js';
import { hasOtherListeners } from '../sockets/events.js';
import { wheel } from '../liveness/timing-wheel.js';
import { UserCode } from '../user-code.js';
import { decodeMessage, isBlob, type ReceivedMessage } from '../wire/message.js';
import { HeldMessages, type HeldMessagesOwner } from './held-messages.js';

interface Pausable {
  pause(): void;
  resume(): void;
}

/**
 * Messages on their way in. Those that arrive before the first `message` listener are held; from the moment at which
 * closing begins, none is delivered.
 */
export abstract class Inbound extends UserCode implements HeldMessagesOwner {
  #held: HeldMessages | undefined;
  /** Nobody came in time: nothing is held any more. */
  #isUnwanted = false;
  #mode: 'open' | 'draining' | 'silent' = 'open';

  /** Has `checkHeld` called about that time. */
  abstract schedule(atMs: number): void;

  get wantsMessages(): boolean {
    return this.facade.listenerCount('message') > 0;
  }

  protected receive(data: unknown, isBinary: boolean): void {
    if (this.#mode === 'silent') {
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
    else this.#keep(message, isBinary, byteLength);
  }

  #keep(message: ReceivedMessage, isBinary: boolean, byteLength: number): void {
    const held = this.#hold();
    if (!held.add(message, isBinary, byteLength)) this.#ignore(1);
    // Normally the listener that came has released them; but `removeAllListeners()` takes that hook away too.
    if (this.wantsMessages) held.release();
  }

  deliver(message: ReceivedMessage, isBinary: boolean, byteLength: number): void {
    if (this.#mode === 'silent') {
      this.#ignore(1);
      return;
    }
    const { counters } = this;
    if (counters !== undefined) {
      counters.messagesReceived++;
      counters.bytesReceived += byteLength;
    }
    this.#isUnwanted = false;
    this.emit('message', message, isBinary);
  }

  /** A drain: messages are delivered until the socket has closed. */
  protected receiveUntilClosed(): void {
    this.#mode = 'draining';
  }

  /** Closing has begun: nothing is delivered any more, except during a drain. */
  protected endReceiving(): void {
    if (this.#mode !== 'draining') this.#mode = 'silent';
    // A socket that we have paused would not read the answer to our close frame.
    if (this.#mode === 'silent' || !this.wantsMessages) this.dropHeld();
  }

  /** What is held is not wanted any more. */
  protected dropHeld(): void {
    if (this.#held === undefined) return;
    this.#ignore(this.#held.drop());
    this.emptied();
  }

  /** The socket has closed: what is held and wanted is still delivered. */
  protected deliverHeld(): void {
    if (this.wantsMessages) this.#held?.release();
    this.dropHeld();
  }

  emptied(): void {
    if (this.#held) emitterOf(this.facade).off('newListener', this.#held.onNewListener);
    this.#held = undefined;
  }

  /** Gives up messages that nobody has listened for in time. */
  protected checkHeld(nowMs: number): void {
    if (this.#held === undefined) return;
    if (this.wantsMessages) {
      this.#held.release();
      return;
    }
    if (nowMs < this.#held.untilMs) {
      this.schedule(this.#held.untilMs);
      return;
    }
    this.#isUnwanted = true;
    this.dropHeld();
  }

  pause(): boolean {
    const { pause, resume } = this.socket as Partial<Pausable>;
    if (typeof pause !== 'function' || typeof resume !== 'function') return false;
    (this.socket as Pausable).pause();
    return true;
  }

  resume(): void {
    (this.socket as Pausable).resume();
  }

  /** A socket on which somebody else listens is left alone. */
  get #mayHold(): boolean {
    return !this.#isUnwanted && !hasOtherListeners(this.socket);
  }

  #hold(): HeldMessages {
    if (this.#held !== undefined) return this.#held;
    const untilMs = wheel.nowMs + (this.pool?.settings.closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS);
    const held = new HeldMessages(this, untilMs);
    this.schedule(untilMs);
    emitterOf(this.facade).on('newListener', held.onNewListener);
    return (this.#held = held);
  }

  #ignore(count: number): void {
    if (this.counters !== undefined) this.counters.messagesIgnored += count;
  }
}

function sizeOf(message: ReceivedMessage): number {
  return typeof message === 'string' ? Buffer.byteLength(message) : message.length;
}

/** Node's own events are not among those that a `Connection` declares. */
function emitterOf(facade: EventEmitter): EventEmitter {
  return facade;
}
