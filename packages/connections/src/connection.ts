import { captureRejectionSymbol, EventEmitter } from 'node:events';
import type { InspectOptions } from 'node:util';
import { assertHandlers, assertId, assertNamespace } from './arguments.js';
import { assertSendOptions, toRooms, type ConflateOptions } from './audience.js';
import { assertCloseArguments, CloseCode } from './close-codes.js';
import { ConnectionCore } from './connection-core.js';
import { toError } from './errors.js';
import type { ConnectionEvents } from './events.js';
import type { RemoteConnection } from './remote-connection.js';
import type { Capabilities, NativeConnectionHandlers, NativeWebsocket } from './sockets/native-websocket.js';
import type { Facade } from './user-code.js';
import { assertWebSocketMessage, encodeError, encodeJson, type WebSocketMessage } from './wire/message.js';

const SENT = Promise.resolve(true);
const NOT_SENT = Promise.resolve(false);

/** The internals of a connection, for the library. */
let coreOf: (connection: AnyConnection) => ConnectionCore;

/**
 * One client: wraps a WebSocket-like object.
 *
 * Made to be extended. A network failure never becomes an unhandled rejection: sends and closes reject only for
 * mistakes in their arguments.
 *
 * @typeParam ID type of the id, which is unique inside the namespace
 * @typeParam Message what may be sent
 * @typeParam NativeConnection type of the socket
 * @typeParam Data type of `data`
 */
export class Connection<
  ID = string,
  Message = WebSocketMessage,
  NativeConnection = NativeWebsocket,
  Data = unknown,
> extends EventEmitter<ConnectionEvents> {
  static {
    coreOf = (connection) => connection.#core;
    ConnectionCore.base = Connection.prototype as Facade;
  }

  readonly id: ID;
  readonly namespace: string;
  /** The socket. Messages sent on it directly are not ordered with those of this connection. */
  readonly connection: NativeConnection;
  readonly handlers: NativeConnectionHandlers<Message> | undefined;
  /** Whatever you want to keep with the connection; `undefined` until assigned. The library never looks at it. */
  declare data: Data;
  readonly #core: ConnectionCore;

  /**
   * @param id string, number or bigint; unique inside the namespace
   * @param namespace group of connections that it belongs to
   * @param socket a WebSocket-like object
   * @param handlers replace the socket's own `send` and `close`
   * @throws {TypeError} an argument has another type
   */
  constructor(
    id: ID,
    namespace: string,
    socket: NativeConnection,
    handlers?: NativeConnectionHandlers<Message>,
  ) {
    // An async listener that rejects causes an `error` event, as one that throws does.
    super({ captureRejections: true });
    assertId(id);
    assertNamespace(namespace);
    assertHandlers(handlers);
    this.id = id;
    this.namespace = namespace;
    this.connection = socket;
    this.handlers = handlers;
    this.#core = new ConnectionCore(this);
  }

  /** Closing has begun, on either side: nothing can be sent any more. */
  get closed(): boolean {
    return this.#core.isClosed;
  }

  /**
   * The rooms that the connection is in, live. Empty once it has left the pool; after a close it keeps them until the
   * `close` listeners have returned.
   */
  get rooms(): ReadonlySet<string> {
    return this.#core.rooms;
  }

  /** Bytes that wait to leave: in the socket, if it tells, and in the current turn of the event loop. */
  get bufferedAmount(): number {
    return this.#core.outbox.bufferedBytes;
  }

  /** From ping to pong of the last heartbeat that was answered, in ms; `undefined` before that. */
  get roundTripTime(): number | undefined {
    return this.#core.roundTripMs;
  }

  /** What the socket can do. */
  get capabilities(): Capabilities {
    return this.#core.driver.capabilities;
  }

  /**
   * Joins rooms of its namespace, at once: what is broadcast to them from now on reaches the connection. A room that does
   * not exist begins to. May be called before the connection is in a pool.
   *
   * @param rooms a name, or several; any string is a name
   * @returns whether it is in all of them now; `false` if it is closing or closed
   * @throws {TypeError} a name is not a string
   * @throws {ConnectionsError} `ERR_TOO_MANY_ROOMS`: it would be in more than `maxRoomsPerConnection`; it joins none then
   */
  join(rooms: string | Iterable<string>): boolean {
    return this.#core.joinRooms(toRooms('rooms', rooms));
  }

  /**
   * Leaves rooms, at once. What was broadcast to them before still reaches the connection.
   *
   * @throws {TypeError} a name is not a string
   */
  leave(rooms: string | Iterable<string>): void {
    this.#core.leaveRooms(toRooms('rooms', rooms));
  }

  /**
   * Sends a message: a `string` as text, an `ArrayBuffer`, typed array, `Buffer` or `Blob` as binary. With
   * handlers, whatever they take.
   *
   * @param options `conflate`: while the reader is behind (`conflateAboveBytes` of the pool), a newer message replaces
   * the one that waits under the same key
   * @returns `true` if the message was handed to the socket; `false` if it was not: the connection is closed or
   * closing, it is a slow reader, its socket failed, or a newer message has replaced it
   * @throws {TypeError} (rejects) the message is of another type
   */
  send<M extends Message = Message>(message: M, options?: ConflateOptions): Promise<boolean> {
    try {
      assertSendOptions(options);
      if (this.handlers === undefined) assertWebSocketMessage(message);
      const isSent = this.#core.send(message, options?.conflate);
      if (typeof isSent !== 'boolean') return isSent;
      return isSent ? SENT : NOT_SENT;
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  /** Sends a value as JSON text. @throws {TypeError} (rejects) JSON cannot express the value */
  async sendJson<M = unknown>(value: M, options?: ConflateOptions): Promise<boolean> {
    return this.send(encodeJson(value) as Message, ...given(options));
  }

  /**
   * Sends an error: a message as it is, any other value as JSON, an `Error` as JSON of its `message` and own fields (not
   * of its stack). With a `code` the error is fatal, and the connection is closed after it; without one it stays open.
   *
   * @throws {TypeError | RangeError} (rejects) as `send` and `close` do; nothing is sent then
   */
  async sendError<M = unknown>(message: M, code?: number, reason?: string): Promise<boolean> {
    if (code !== undefined) return this.sendErrorThenClose(message, code, reason);
    return this.send(encodeError(message) as Message);
  }

  /**
   * Sends a message and closes the connection; no later message can slip in between.
   *
   * @returns whether the message was sent, once the connection has closed
   */
  async sendThenClose<M extends Message = Message>(
    message: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    if (this.handlers === undefined && !this.#core.isOverridden) assertWebSocketMessage(message);
    const sent = this.#core.callSend(message);
    await Promise.allSettled([sent, this.#closeSettling(code, reason)]);
    return sent;
  }

  /** An overridden `close` may throw at once: here it rejects. */
  async #closeSettling(code: number, reason: string): Promise<void> {
    await this.close(code, reason);
  }

  /** `sendJson`, then `close`. */
  async sendJsonThenClose<M = unknown>(value: M, code?: number, reason?: string): Promise<boolean> {
    return this.sendThenClose(encodeJson(value) as Message, code, reason);
  }

  /** `sendError`, then `close`. @param code default 1011 */
  async sendErrorThenClose<M = unknown>(
    message: M,
    code: number = CloseCode.InternalError,
    reason?: string,
  ): Promise<boolean> {
    return this.sendThenClose(encodeError(message) as Message, code, reason);
  }

  /**
   * Closes the connection: everything sent before goes first, then the close frame. A second call changes nothing.
   * From this moment on no `message` event is emitted.
   *
   * @param code 1000-1003, 1007-1014 or 3000-4999; default 1000
   * @param reason at most 123 bytes of UTF-8
   * @returns resolves when the socket has closed, or was terminated because the peer did not answer within the grace
   * period (`closeTimeout` of the pool, 10 s without one)
   * @throws {TypeError | RangeError} (rejects) code or reason cannot be sent; nothing has changed then
   * @see RFC 6455 §7.1
   */
  async close(code: number = CloseCode.Normal, reason = ''): Promise<void> {
    assertCloseArguments(code, reason);
    return this.#core.close(code, reason);
  }

  /** Ends the connection at once, without a close frame. What still waits is lost; `close` reports 1006. */
  terminate(): void {
    this.#core.terminate();
  }

  /**
   * Lets go of the socket: hands over what is pending, leaves the pool (`disconnection` without a code), resumes
   * reading and removes all listeners from the socket. The connection counts as closed and emits no `close`; the
   * socket stays open and belongs to the caller again. If it was closing, end it yourself when the peer does not answer:
   * `ws` does not do that any more.
   */
  release(): void {
    this.#core.release();
  }

  /**
   * Starts or restarts the idle limit: a connection from which nothing arrives for that long is closed with 4408. The
   * limit is the pool's `idleTimeout`, or 120 s without one. Noticed within about 100 ms.
   */
  updateTimeout(): void {
    this.#core.updateTimeout();
  }

  /** Lifts the idle limit. */
  clearTimeout(): void {
    this.#core.clearTimeout();
  }

  /** The connection as plain data for other nodes. */
  toRemote(instanceId?: string): RemoteConnection<ID> {
    return { id: this.id, namespace: this.namespace, ...(instanceId !== undefined && { instanceId }) };
  }

  /** What `JSON.stringify` shows. */
  toJSON(): { readonly id: string | number; readonly namespace: string } {
    const { id, namespace } = this;
    return { id: typeof id === 'number' ? id : String(id), namespace };
  }

  /**
   * For the owner of a socket without events: a message has arrived. Text is a `string`, or its bytes with `isBinary`
   * false. An `ArrayBuffer` is copied, because uWebSockets.js takes it back afterwards.
   */
  handleMessage(data: unknown, isBinary: boolean = typeof data !== 'string'): void {
    this.#core.handleMessage(data, isBinary);
  }

  /** For the owner of a socket without events: it has closed. A second call changes nothing. */
  handleClose(code: number = CloseCode.NoStatus, reason: unknown = ''): void {
    this.#core.handleClose(code, reason);
  }

  /** For the owner of a socket without events: the bytes that waited in it have left. */
  handleDrain(): void {
    this.#core.outbox.hasDrained();
  }

  /** For the owner of a socket without events: a pong has arrived. */
  handlePong(): void {
    this.#core.handlePong();
  }

  /** Called by Node for an async listener that rejects. */
  override [captureRejectionSymbol](error: Error, event: unknown, ..._args: unknown[]): void {
    this.#core.onRejection(error, event);
  }

  /** What `util.inspect` and `console.log` show. */
  [Symbol.for('nodejs.util.inspect.custom')](
    _depth: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    const { id, namespace, closed, bufferedAmount, roundTripTime, data } = this;
    const rooms = this.#core.roomNames;
    const shown = {
      id,
      namespace,
      closed,
      bufferedAmount,
      ...(rooms.length > 0 && { rooms }),
      ...(roundTripTime !== undefined && { roundTripTime }),
      ...(data !== undefined && { data }),
    };
    return `${this.constructor.name} ${inspect(shown, options)}`;
  }
}

/** An overridden `send` with one parameter is called with one argument. */
function given<T>(options: T | undefined): [] | [T] {
  return options === undefined ? [] : [options];
}

/** Any connection, whatever its messages are. */
export type AnyConnection = Connection<unknown, never, unknown>;

export { coreOf };
