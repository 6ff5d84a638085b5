import { EventEmitter } from 'node:events';
import type { Counters } from './counters.js';
import { toError } from './errors.js';
import type { ConnectionEvents } from './events.js';
import type { PoolSettings, RateDecision, SlowDecision } from './options.js';
import type { NativeConnectionHandlers } from './sockets/native-websocket.js';
import type { ReceivedMessage } from './wire/message.js';

/** The `Connection` that users see. Its methods may be overridden. */
export interface Facade extends EventEmitter<ConnectionEvents> {
  /** The socket. */
  readonly connection: unknown;
  readonly handlers: NativeConnectionHandlers<never> | undefined;
  send(message: never): Promise<boolean>;
  close(code?: number, reason?: string): Promise<void>;
  terminate(): void;
}

/** What a connection knows of the pool that it is in. None of this throws. */
export interface PoolLink {
  readonly settings: PoolSettings;
  readonly counters: Counters;
  /** The connection has closed or was released. Called before its own listeners hear of it. */
  onGone(connection: Facade, code: number | undefined, reason: string): void;
  /** Has joined these rooms, or left them. */
  onJoin(connection: Facade, rooms: readonly string[]): void;
  onLeave(connection: Facade, rooms: readonly string[]): void;
  onFailure(error: Error, connection: Facade, isHandled: boolean): void;
  onSlow(connection: Facade, byteLength: number, isNew: boolean): SlowDecision;
  /** It was sent more than `rateLimit` allows. */
  onExceeded(connection: Facade, byteLength: number): RateDecision;
}

/**
 * Calls the user's code on behalf of one connection: listeners and overridden methods. Whatever they throw or reject
 * becomes an `error` event.
 */
export abstract class UserCode {
  /** The `Connection` that users see. */
  readonly facade: Facade;
  /** The pool that it is in. */
  pool: PoolLink | undefined;
  /** Where failures are reported: the pool that it is in, or was in last. */
  protected reportsTo: PoolLink | undefined;

  constructor(facade: Facade) {
    this.facade = facade;
  }

  get socket(): unknown {
    return this.facade.connection;
  }

  /** The counters of its pool. */
  get counters(): Counters | undefined {
    return this.pool?.counters;
  }

  /** Closes it on the library's behalf: `close` may be overridden, and its failure is an `error` event. */
  closeReported(code: number, reason: string): Promise<void> {
    return this.reported(() => this.facade.close(code, reason));
  }

  /** A socket, a handler or a listener failed: an `error` event, never a throw. */
  failed(thrown: unknown): void {
    const error = toError(thrown);
    const isHandled = this.facade.listenerCount('error') > 0;
    this.reportsTo?.onFailure(error, this.facade, isHandled);
    if (!isHandled) return;
    try {
      EventEmitter.prototype.emit.call(this.facade, 'error', error);
    } catch (thrownByListener) {
      this.reportsTo?.onFailure(toError(thrownByListener), this.facade, true);
    }
  }

  /** An async listener has rejected. */
  onRejection(error: unknown, event: unknown): void {
    // An `error` listener that fails must not receive its own error.
    if (event === 'error') this.reportsTo?.onFailure(toError(error), this.facade, true);
    else this.failed(error);
  }

  /** Emits an event. A listener that throws breaks nothing: its error is an event like any other. */
  emit<E extends keyof ConnectionEvents>(event: E, ...args: ConnectionEvents[E]): void {
    try {
      EventEmitter.prototype.emit.call(this.facade, event, ...args);
    } catch (error) {
      this.failed(error);
    }
  }

  /** `emit('message', …)` without an array of arguments, as it is called for each message received. */
  protected emitMessage(message: ReceivedMessage, isBinary: boolean): void {
    try {
      EventEmitter.prototype.emit.call(this.facade, 'message', message, isBinary);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Calls what may be overridden, at once. Never rejects. */
  protected async reported(call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.failed(error);
    }
  }
}
