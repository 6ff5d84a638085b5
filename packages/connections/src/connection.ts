/* eslint-disable max-lines -- the public surface of a connection, most of it one line each, and its life */
import { captureRejectionSymbol, EventEmitter } from 'node:events';
import { assertHandlers, assertId, assertNamespace } from './arguments.js';
import { assertCloseArguments, CloseCode } from './close-codes.js';
import type { ConnectionEvents } from './connection-types.js';
import { toError } from './errors.js';
import { pooledBuffer } from './frame.js';
import { assertWebSocketMessage, decodeMessage, decodeReason, encodeError, encodeJson } from './message.js';
import type { WebSocketMessage } from './message.js';
import type { Capabilities, NativeConnectionHandlers, NativeWebsocket } from './native-websocket.js';
import { DEFAULT_CLOSE_TIMEOUT_MS, DEFAULT_IDLE_TIMEOUT_MS } from './options.js';
import type { SlowDecision } from './options.js';
import { Outbox } from './outbox.js';
import { kDrained, kFailed, kHand, kSlow } from './outbox-owner.js';
import { frameFor, Outgoing } from './outgoing.js';
import { kJoined, kLeft, kOutbox, kPool, kTerminate, kWasTerminated, type PoolLink } from './pool-link.js';
import type { RemoteConnection } from './remote-connection.js';
import { Heartbeat, nextMoment } from './heartbeat.js';
import { driverOf, ReadyState, type SocketDriver } from './socket-driver.js';
import { kHeard, listen } from './socket-events.js';
import { kDueSlot, kOnDeadline, wheel } from './timing-wheel.js';

/** How long a terminated socket may take to say that it is closed, in ms. */
const TERMINATE_TIMEOUT_MS = 1_000;

const SENT = Promise.resolve(true);
const NOT_SENT = Promise.resolve(false);

/**
 * One client: wraps a WebSocket-like object.
 *
 * Made to be extended. Methods that are called un-awaited cannot end the process by an ordinary network race:
 * sends and closes reject only for mistakes in their arguments.
 *
 * @typeParam ID type of the id, unique inside the namespace
 * @typeParam Message what may be sent
 * @typeParam NativeConnection type of the socket
 */
export class Connection<
  ID = string,
  Message = WebSocketMessage,
  NativeConnection = NativeWebsocket,
> extends EventEmitter<ConnectionEvents> {
  readonly id: ID;
  readonly namespace: string;
  /** The socket. Messages sent on it directly are not ordered with those of this connection. */
  readonly connection: NativeConnection;
  readonly handlers: NativeConnectionHandlers<Message> | undefined;
  readonly #driver: SocketDriver;
  #state: number = ReadyState.Open;
  /** 0 for none. */
  #idleTimeoutMs = 0;
  #heartbeat: Heartbeat | undefined;
  #heardAtMs = 0;
  #closeDeadlineMs = 0;
  #closing: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  /** Messages whose handler, or overridden `send`, has not answered yet: the close waits for them. */
  #handing = 0;
  #whenHanded: (() => void) | undefined;
  /** Who hears of failures: the pool that it is in, or was in last. */
  #reportsTo: PoolLink<AnyConnection> | undefined;
  /** @internal */
  [kPool]: PoolLink<AnyConnection> | undefined = undefined;
  /** @internal */
  readonly [kOutbox]: Outbox;
  /** @internal */
  [kWasTerminated] = false;
  /** @internal */
  [kDueSlot] = 0;

  /**
   * @param id string, number or bigint; unique inside the namespace
   * @param namespace group of connections that it belongs to
   * @param socket a WebSocket-like object, open or about to be
   * @param handlers replace the socket's own `send` and `close`
   * @throws {TypeError} for an argument of another type
   */
  constructor(
    id: ID,
    namespace: string,
    socket: NativeConnection,
    handlers?: NativeConnectionHandlers<Message>,
  ) {
    // A rejected async listener is an `error` event, as a throwing one is.
    super({ captureRejections: true });
    assertId(id);
    assertNamespace(namespace);
    assertHandlers(handlers);
    this.id = id;
    this.namespace = namespace;
    this.connection = socket;
    this.handlers = handlers;
    this.#driver = driverOf(socket, handlers !== undefined);
    const isOverridden = this.send !== Connection.prototype.send;
    this[kOutbox] = new Outbox(socket, this.#driver, this, {
      hasHandlers: handlers !== undefined,
      isOverridden,
    });
    if (this.#driver.readyState(socket) === ReadyState.Closed) this.#state = ReadyState.Closed;
    else listen(socket, this.#driver, this);
  }

  /** Closing has begun, on either side: nothing is sent any more. */
  get closed(): boolean {
    return this.#state !== ReadyState.Open || this.#driver.readyState(this.connection) > ReadyState.Open;
  }

  /** Bytes that wait to leave: in the socket (where it tells) and in the current turn of the event loop. */
  get bufferedAmount(): number {
    return this[kOutbox].bufferedBytes;
  }

  /** From ping to pong, of the last heartbeat that was answered, in ms; `undefined` before, and without heartbeat. */
  get roundTripTime(): number | undefined {
    return this.#heartbeat?.roundTripMs;
  }

  /** What the socket can do. */
  get capabilities(): Capabilities {
    return this.#driver.capabilities;
  }

  /**
   * Sends a message: a `string` as text, an `ArrayBuffer`, typed array, `Buffer` or `Blob` as binary. With
   * handlers, whatever they take.
   *
   * @returns `true` when it was handed to the socket; `false` when it was not: closed or closing, dropped as a
   * slow reader's, failed socket
   * @throws {TypeError} (rejects) the message is of no such type
   */
  send<M extends Message = Message>(message: M): Promise<boolean> {
    try {
      return this.#post(message);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  /**
   * Sends a value as JSON text.
   *
   * @throws {TypeError} (rejects) JSON cannot express the value
   */
  async sendJson<M = unknown>(value: M): Promise<boolean> {
    return this.send(encodeJson(value) as Message);
  }

  /**
   * Sends an error: a message as it is, any other value as JSON. With a `code` the error is fatal, and the
   * connection is closed behind it; without one it stays open.
   *
   * @throws {TypeError | RangeError} (rejects) as `send` and `close` do; nothing is sent then
   */
  async sendError<M = unknown>(message: M, code?: number, reason?: string): Promise<boolean> {
    if (code !== undefined) return this.sendErrorThenClose(message, code, reason);
    return this.send(encodeError(message) as Message);
  }

  /** `send`, then `close`: nothing that is sent after this call comes between. Resolves when closed. */
  async sendThenClose<M extends Message = Message>(
    message: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    const sent = this[kOutbox].isOverridden ? await this.send(message) : this.#post(message);
    await this.close(code, reason);
    return sent;
  }

  /** `sendJson`, then `close`. */
  async sendJsonThenClose<M = unknown>(value: M, code?: number, reason?: string): Promise<boolean> {
    return this.sendThenClose(encodeJson(value) as Message, code, reason);
  }

  /** `sendError`, then one `close`. @param code default 1011 */
  async sendErrorThenClose<M = unknown>(
    message: M,
    code: number = CloseCode.InternalError,
    reason?: string,
  ): Promise<boolean> {
    return this.sendThenClose(encodeError(message) as Message, code, reason);
  }

  /**
   * Closes the connection: what was sent before goes first, then the close frame. A further call changes nothing.
   *
   * @param code 1000-1003, 1007-1014 or 3000-4999; default 1000
   * @param reason at most 123 bytes of UTF-8
   * @returns resolves when the socket has closed, or was terminated because the peer did not answer within the
   * grace period (`closeTimeout` of the pool, 10 s without one)
   * @throws {TypeError | RangeError} (rejects) code or reason cannot be sent; nothing has changed then
   * @see RFC 6455 §7.1
   */
  async close(code: number = CloseCode.Normal, reason = ''): Promise<void> {
    assertCloseArguments(code, reason);
    if (this.#state === ReadyState.Open) this.#startClosing(code, reason);
    return this.#whenClosed();
  }

  /** Ends the connection at once, without a close frame. What still waits is lost; `close` reports 1006. */
  terminate(): void {
    if (this.#state === ReadyState.Closed || this[kWasTerminated]) return;
    this.#state = ReadyState.Closing;
    this[kWasTerminated] = true;
    if (this[kPool]) this[kPool].counters.terminated++;
    this.#closeDeadlineMs = wheel.nowMs + TERMINATE_TIMEOUT_MS;
    wheel.schedule(this, this.#closeDeadlineMs);
    this[kOutbox].abandon();
    let isEnding = false;
    try {
      isEnding = this.#driver.terminate(this.connection);
    } catch (error) {
      this[kFailed](error);
    }
    // A socket that tells nobody, or cannot be ended: our side at least is freed.
    if (!isEnding || this.capabilities.events === 'owner') this.handleClose(CloseCode.Abnormal, '');
  }

  /**
   * Starts or restarts the idle limit: without a message or pong from the peer for that long, the connection is
   * closed with 4408. The limit is the pool's `idleTimeout`, 120 s without one. Noticed within about 100 ms.
   */
  updateTimeout(): void {
    if (this.closed) return;
    this.#idleTimeoutMs = this[kPool]?.settings.idleTimeout ?? DEFAULT_IDLE_TIMEOUT_MS;
    this.#heardAtMs = wheel.nowMs;
    wheel.schedule(this, this.#heardAtMs + this.#idleTimeoutMs);
  }

  /** Lifts the idle limit. */
  clearTimeout(): void {
    this.#idleTimeoutMs = 0;
  }

  /** The connection as plain data for other nodes. */
  toRemote(instanceId?: string): RemoteConnection<ID> {
    return { id: this.id, namespace: this.namespace, ...(instanceId !== undefined && { instanceId }) };
  }

  /**
   * For the owner of a socket without events: a message has arrived. Text comes as a `string` or, with
   * `isBinary` false, as its bytes. An `ArrayBuffer` is copied, as uWebSockets.js takes it back afterwards.
   */
  handleMessage(data: unknown, isBinary: boolean = typeof data !== 'string'): void {
    if (this.#state === ReadyState.Closed) return;
    this[kHeard]();
    if (this.listenerCount('message') > 0) this.#emit('message', decodeMessage(data, isBinary), isBinary);
  }

  /** For the owner of a socket without events: it has closed. A second call changes nothing. */
  handleClose(code: number = CloseCode.NoStatus, reason: unknown = ''): void {
    if (this.#state === ReadyState.Closed) return;
    this.#state = ReadyState.Closed;
    wheel.cancel(this);
    this[kOutbox].abandon();
    const text = decodeReason(reason);
    this[kPool]?.onClosed(this, code, text);
    this.#emit('close', code, text);
    this.#closing?.resolve();
  }

  /** For the owner of a socket without events: what waited in it has left. */
  handleDrain(): void {
    this[kOutbox].drained();
  }

  /** For the owner of a socket without events: a pong has arrived. */
  handlePong(): void {
    this[kHeard]();
    this.#heartbeat?.onPong();
    if (this.listenerCount('pong') > 0) this.#emit('pong');
  }

  /** @internal */
  [kHeard](): void {
    if (this.#idleTimeoutMs > 0 || this.#heartbeat !== undefined) this.#heardAtMs = wheel.nowMs;
  }

  /** @internal Joined to a pool, which sets the limits of its connections. */
  [kJoined](pool: PoolLink<AnyConnection>): void {
    this[kPool] = pool;
    this.#reportsTo = pool;
    const { idleTimeout, heartbeat } = pool.settings;
    if (idleTimeout !== undefined) this.updateTimeout();
    if (heartbeat === undefined || !this.capabilities.ping) return;
    this.#heartbeat = new Heartbeat(heartbeat.interval, heartbeat.timeout, wheel.nowMs, nextMoment());
    wheel.schedule(this, this.#heartbeat.dueAtMs);
  }

  /** @internal Left the pool, and its limits. */
  [kLeft](): void {
    this[kPool] = undefined;
    this.#idleTimeoutMs = 0;
    this.#heartbeat = undefined;
  }

  /** @internal A socket, handler or listener failed: an `error` event where somebody listens, never a throw. */
  [kFailed](thrown: unknown): void {
    const error = toError(thrown);
    this.#reportsTo?.onFailure(this, error);
    if (this.listenerCount('error') === 0) return;
    try {
      this.emit('error', error);
    } catch (thrownByListener) {
      this.#reportsTo?.onFailure(this, toError(thrownByListener));
    }
  }

  /** @internal */
  [kHand](message: unknown, taker: 'handlers' | 'override'): unknown {
    const answer =
      taker === 'override' ? this.send(message as Message) : this.handlers?.send(message as Message);
    if (!(answer instanceof Promise)) return answer;
    this.#handing++;
    const settled = (): void => {
      if (--this.#handing === 0) this.#whenHanded?.();
    };
    answer.then(settled, settled);
    return answer;
  }

  /** @internal */
  [kSlow](outgoing: Outgoing, isNew: boolean): SlowDecision {
    const decision = this[kPool]?.onSlow(this, outgoing, isNew) ?? 'close';
    if (decision === 'close') void closeReported(this, CloseCode.TryAgainLater, 'Slow reader');
    return decision;
  }

  /** @internal An overridden `terminate` is asked first. Where it fails, or ends nothing, this ends it. */
  [kTerminate](): void {
    void reported(this, () => this.terminate());
    void reported(this, () => Connection.prototype.terminate.call(this));
  }

  /** @internal */
  [kDrained](): void {
    this.#emit('drain');
  }

  /** @internal */
  override [captureRejectionSymbol](error: Error, event: unknown, ..._args: unknown[]): void {
    // A listener for errors that fails is not told of its own failure.
    if (event === 'error') this.#reportsTo?.onFailure(this, toError(error));
    else this[kFailed](error);
  }

  /** @internal The slot of a deadline of this connection has come: closing or idle. */
  [kOnDeadline](nowMs: number): void {
    if (this.#state === ReadyState.Closing) {
      if (nowMs < this.#closeDeadlineMs) wheel.schedule(this, this.#closeDeadlineMs);
      else if (this[kWasTerminated]) this.handleClose(CloseCode.Abnormal, '');
      else this[kTerminate]();
      return;
    }
    this.#beat(nowMs);
    this.#checkIdle(nowMs);
  }

  #beat(nowMs: number): void {
    const beat = this.#heartbeat?.beat(nowMs, this.#heardAtMs);
    if (beat === 'dead') {
      if (this[kPool]) this[kPool].counters.heartbeatsLost++;
      this[kTerminate]();
    } else if (beat === 'ping') {
      this.#ping();
    }
    // Unless a listener has taken the connection out of the pool meanwhile.
    if (this.#heartbeat && !this.closed) wheel.schedule(this, this.#heartbeat.dueAtMs);
  }

  #ping(): void {
    if (this.closed) return;
    if (this[kPool]) this[kPool].counters.pings++;
    try {
      this.#driver.ping(this.connection);
    } catch (error) {
      this[kFailed](error);
    }
  }

  #checkIdle(nowMs: number): void {
    if (this.#idleTimeoutMs === 0 || this.closed) return;
    const dueAtMs = this.#heardAtMs + this.#idleTimeoutMs;
    if (nowMs < dueAtMs) {
      wheel.schedule(this, dueAtMs);
      return;
    }
    if (this[kPool]) this[kPool].counters.idleTimeouts++;
    void closeReported(this, CloseCode.IdleTimeout, 'Idle timeout');
  }

  #startClosing(code: number, reason: string): void {
    this.#state = ReadyState.Closing;
    this.#closeDeadlineMs = wheel.nowMs + (this[kPool]?.closeTimeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS);
    wheel.schedule(this, this.#closeDeadlineMs);
    this[kOutbox].settle();
    const finish = (): void => {
      this.#whenHanded = undefined;
      this[kOutbox].end();
      this.#closeSocket(code, reason);
    };
    if (this.#handing === 0) finish();
    else this.#whenHanded = finish;
  }

  #closeSocket(code: number, reason: string): void {
    if (this.#state === ReadyState.Closed || this[kWasTerminated]) return;
    const { connection, handlers } = this;
    try {
      const answer = handlers ? handlers.close(code, reason) : this.#driver.close(connection, code, reason);
      if (answer instanceof Promise || handlers !== undefined) void this.#awaitHandler(answer, code, reason);
    } catch (error) {
      this[kFailed](error);
      this[kTerminate]();
    }
  }

  /** Handlers of a socket that tells nothing say by their promise that it is closed. */
  async #awaitHandler(answer: unknown, code: number, reason: string): Promise<void> {
    try {
      await answer;
      if (this.capabilities.events === 'owner' && this.handlers) this.handleClose(code, reason);
    } catch (error) {
      this[kFailed](error);
      this[kTerminate]();
    }
  }

  #whenClosed(): Promise<void> {
    if (this.#state === ReadyState.Closed) return Promise.resolve();
    if (this.#closing === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((settle) => (resolve = settle));
      this.#closing = { promise, resolve };
    }
    return this.#closing.promise;
  }

  /** Listeners that throw break nothing: their error is an event like any other. */
  #emit<E extends keyof ConnectionEvents>(event: E, ...args: ConnectionEvents[E]): void {
    try {
      EventEmitter.prototype.emit.call(this, event, ...args);
    } catch (error) {
      this[kFailed](error);
    }
  }

  #post(message: unknown): Promise<boolean> {
    if (this.handlers === undefined) assertWebSocketMessage(message);
    // What an overridden `send` was given before the close may still come from it.
    const isLate = this[kOutbox].isOverridden && this.#whenHanded !== undefined;
    if (this.closed && !isLate) return NOT_SENT;
    const outbox = this[kOutbox];
    // What leaves at once may share a slab of Node's pool, which is much cheaper: nothing of it is kept.
    const outgoing = new Outgoing(message, frameFor(message, outbox.isBacklogged ? undefined : pooledBuffer));
    outbox.post(outgoing);
    const isSent = outgoing.isSent();
    if (typeof isSent !== 'boolean') return isSent;
    return isSent ? SENT : NOT_SENT;
  }
}

/** Any connection at all, whatever may be sent on it. */
export type AnyConnection = Connection<unknown, never, unknown>;

/** A close of the library's own accord: an overridden `close` that fails is reported like any other failure. */
export function closeReported(connection: AnyConnection, code: number, reason: string): Promise<void> {
  return reported(connection, () => connection.close(code, reason));
}

/** Calls what may be overridden, at once. Never rejects: a failure is one of the connection. */
async function reported(connection: AnyConnection, call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    connection[kFailed](error);
  }
}
