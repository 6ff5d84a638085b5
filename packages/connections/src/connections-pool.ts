import type { InspectOptions } from 'node:util';
import { assertFunction, assertNamespace } from './arguments.js';
import {
  toArgument,
  toAudience,
  type Audience,
  type AudienceArgument,
  type AudienceOptions,
} from './audience.js';
import { closeAllFrom, type CloseAllOptions } from './close-all.js';
import { assertCloseArguments, CloseCode } from './close-codes.js';
import { Connection, coreOf, type AnyConnection } from './connection.js';
import { newCounters, type PoolStats } from './counters.js';
import { trace } from './diagnostics.js';
import { Drains } from './drain/drains.js';
import { planFrom, type DrainOptions } from './drain/drain-options.js';
import type { DrainReport } from './drain-report.js';
import { expected, toError } from './errors.js';
import type { Cluster } from './cluster/cluster.js';
import { PoolCluster } from './pool-cluster.js';
import { Membership } from './membership.js';
import { resolveOptions, type ConnectionsPoolOptions, type PoolSettings } from './options.js';
import { linkTo } from './pool-link.js';
import { PoolSends, type Elsewhere } from './pool-sends.js';
import { NOBODY, type BroadcastResult, type Delivery } from './sending/delivery.js';
import { EndOfTurn } from './sending/end-of-turn.js';
import { Envelope } from './sending/envelope.js';
import { pooledBuffer } from './wire/frame.js';
import { assertWebSocketMessage, encodeError, encodeJson, type WebSocketMessage } from './wire/message.js';

/**
 * All connections of a process: namespace -> id -> connection.
 *
 * Made to be extended. Whatever a call changes has changed when it returns; its promise tells the outcome.
 *
 * @typeParam Message what may be sent
 * @typeParam ConnectionType class of the connections
 */
export class ConnectionsPool<
  Message = WebSocketMessage,
  ConnectionType extends AnyConnection = Connection<string, Message>,
> extends PoolSends<Message, ConnectionType> {
  readonly #endOfTurn: EndOfTurn;
  readonly #settings: PoolSettings<ConnectionType>;
  readonly #counters = newCounters();
  readonly #members: Membership<ConnectionType>;
  readonly #drains: Drains;
  readonly #cluster: PoolCluster<ConnectionType>;

  /**
   * @throws {TypeError} an option is unknown or has the wrong type
   * @throws {RangeError} a number is out of range
   */
  constructor(options: ConnectionsPoolOptions<NoInfer<ConnectionType>> = {}) {
    super();
    this.#settings = resolveOptions(options);
    this.#endOfTurn = new EndOfTurn(this.#settings.maxFlushMs);
    const link = linkTo(this.#settings, this.#counters, {
      members: () => this.#members,
      failed: (error, connection, isHandled) => this.reportError(error, connection, isHandled),
      slow: (connection) => this.emitSafely('slow', connection, connection.bufferedAmount),
    });
    this.#members = new Membership(this.#endOfTurn, this.#settings, this.#counters, link, {
      joined: (connection) => this.emitSafely('connection', connection),
      left: (connection, code, reason, isKnown) => {
        this.#drains.onGone(connection);
        this.#cluster.left(connection);
        if (isKnown) this.emitSafely('disconnection', connection, code, reason);
      },
      refused: (connection, error) => this.emitSafely('refused', connection, error),
      joinedRoom: (connection, room) => this.emitSafely('join', connection, room),
      leftRoom: (connection, room) => this.emitSafely('leave', connection, room),
      emptiedRoom: (namespace, room) => this.emitSafely('emptyRoom', namespace, room),
      emptied: (namespace) => {
        this.#cluster.emptied(namespace);
        this.emitSafely('emptyNamespace', namespace);
      },
    });
    this.#drains = new Drains({
      companyAt: (nowMs) => this.#cluster.companyAt(nowMs),
      all: () => this.#members.all(),
      began: () => this.#members.close(),
      changed: () => this.#cluster.announceDrain(),
      ended: (report) => this.emitSafely('drain', report),
      aborted: () => this.#members.reopen(),
      failed: (error) => this.reportError(error, undefined),
    });
    this.#cluster = this.#joinCluster();
  }

  #joinCluster(): PoolCluster<ConnectionType> {
    return new PoolCluster(this.#settings, this.#members, this.#endOfTurn, {
      drain: () => this.#drains.running,
      broadcast: (namespace, envelope, audience) => void this.#fanOut(namespace, envelope, audience),
      onNode: (node, change) => this.emitSafely('node', node, change),
      onDegraded: (degradation) => this.emitSafely('degraded', degradation),
      onRecovered: (recovery) => this.emitSafely('recovered', recovery),
      onError: (error) => this.reportError(error, undefined),
    });
  }

  /** The other nodes. Without an adapter the pool is a cluster of its own. */
  get cluster(): Cluster {
    return this.#cluster.cluster;
  }

  // ---------------------------------------------------------------- who is connected

  /** The connections, live. Read it only: the pool does not notice what is added or deleted here. */
  get connections(): Map<string, Map<ConnectionType['id'], ConnectionType>> {
    return this.#members.namespaces;
  }

  /** The pool takes no newcomers: a drain has begun. It stays so when the drain is done. */
  get draining(): boolean {
    return this.#members.isClosed;
  }

  /** The connections of a namespace, live; a new empty map if the namespace does not exist. */
  namespace(namespace: string): Map<ConnectionType['id'], ConnectionType> {
    return this.connections.get(namespace) ?? new Map<ConnectionType['id'], ConnectionType>();
  }

  /** Whether the namespace has connections. */
  hasNamespace(namespace: string): boolean {
    return this.connections.has(namespace);
  }

  /** The connections of a namespace that are in the room, live; a new empty map if there are none. */
  room(namespace: string, room: string): ReadonlyMap<ConnectionType['id'], ConnectionType> {
    return this.rooms(namespace).get(room) ?? new Map<ConnectionType['id'], ConnectionType>();
  }

  /** The rooms of a namespace, live: each exists exactly as long as it has members. */
  rooms(namespace: string): ReadonlyMap<string, ReadonlyMap<ConnectionType['id'], ConnectionType>> {
    return this.#members.namespaces.get(namespace)?.rooms ?? new Map<string, Map<never, never>>();
  }

  /** The connection that has the id in the namespace now. */
  override getConnection(namespace: string, id: ConnectionType['id']): ConnectionType | undefined {
    return this.#members.find(namespace, id);
  }

  /**
   * Adds a connection at once; the pool removes it by itself when it closes.
   *
   * The connection is refused, and closed with 1013, if the pool is draining, if its id is taken (`onDuplicate:
   * 'reject'`) or if it has closed already. That is the network's doing, so the promise still resolves: a `refused`
   * event tells the reason, and `connection.closed` is `true` (unless an overridden `close` waits before it closes).
   *
   * @throws {TypeError} (rejects) not a `Connection`
   * @throws {ConnectionsError} (rejects) `ERR_CONNECTION_IN_USE`: it is in another pool; `ERR_TOO_MANY_ROOMS`: it has
   * joined more rooms than `maxRoomsPerConnection`
   */
  newConnection(connection: ConnectionType): Promise<void> {
    try {
      assertConnection(connection);
      this.#cluster.assertId(connection.id);
      const isNew = coreOf(connection).pool === undefined;
      this.#members.add(connection);
      return isNew ? this.#cluster.joined(connection) : Promise.resolve();
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  /**
   * Removes exactly this connection at once; it stays open, and another one that has its id stays in the pool.
   *
   * @param onEmptyNamespace called once if this was the last connection of its namespace; also if the pool had removed
   * it already because it closed, unless somebody has joined the namespace since
   * @returns resolves when the callback has; rejects with what it throws
   */
  async removeConnection(connection: ConnectionType, onEmptyNamespace?: () => unknown): Promise<void> {
    assertConnection(connection);
    assertFunction('onEmptyNamespace', onEmptyNamespace);
    if (this.#members.remove(connection)) await onEmptyNamespace?.();
  }

  // ---------------------------------------------------------------- many connections

  /**
   * Closes all connections of a namespace at once; `drainConnections` paces the closing of many. Resolves when all
   * have closed.
   *
   * @param options `rooms`, `exceptRooms` and `exceptions` choose some of them, as for `broadcastMessage`
   * @throws {TypeError | RangeError} (rejects) an option, the code or the reason is wrong; nothing has changed then
   */
  closeAll(
    namespace: string,
    code?: number,
    reason?: string,
    options?: AudienceOptions<ConnectionType['id']>,
  ): Promise<void>;
  /** The same, with code and reason among the options. */
  closeAll(namespace: string, options: CloseAllOptions<ConnectionType['id']>): Promise<void>;
  async closeAll(
    namespace: string,
    codeOrOptions?: number | CloseAllOptions<ConnectionType['id']>,
    reason?: string,
    options?: AudienceOptions<ConnectionType['id']>,
  ): Promise<void> {
    assertNamespace(namespace);
    const { audience, close } = closeAllFrom(codeOrOptions, reason, options);
    const connections = [...(this.#members.namespaces.get(namespace)?.membersOf(audience) ?? [])];
    const elsewhere = this.#cluster.closeAll(namespace, audience, close);
    const here = connections.map((connection) => coreOf(connection).closeReported(close.code, close.reason));
    await Promise.all([...here, elsewhere]);
  }

  /**
   * Sends a message to the connections of a namespace, or of some of its rooms. It is encoded once, and written at the
   * end of this turn of the event loop together with everything else that the turn broadcasts there. What is broadcast to
   * the namespace, broadcast to rooms and sent privately reaches a connection in the order of the calls.
   *
   * Binary messages of more than 64 KiB are not copied: do not change them afterwards.
   *
   * @param audience ids that do not get it, or options: `rooms`, `exceptRooms`, `exceptions`, `conflate`
   * @returns the counts, when every copy has been handed over, held back or refused
   * @throws {TypeError} (rejects) an option is wrong; or a WebSocket cannot send the message, and no connection with
   * handlers or an overridden `send` has ever joined the pool
   */
  broadcastMessage<M extends Message = Message>(
    namespace: string,
    message: M,
    audience?: AudienceArgument<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    try {
      assertNamespace(namespace);
      // First: an iterable may run user code.
      const recipients = toAudience(audience);
      this.assertMessage(message);
      return this.#broadcast(namespace, message, recipients);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  #broadcast(
    namespace: string,
    message: Message,
    audience: Audience<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    const isHere = this.hasNamespace(namespace);
    if (!this.#cluster.isOn && !isHere) return Promise.resolve(NOBODY);
    // For other nodes alone it is copied into their batch: nothing keeps the frame.
    const envelope = new Envelope(message, isHere ? undefined : pooledBuffer);
    this.#cluster.broadcast(namespace, audience, envelope.frame);
    return this.#fanOut(namespace, envelope, audience)?.result() ?? Promise.resolve(NOBODY);
  }

  /** Broadcasts to connections of this pool. @returns `undefined` if there are none in the namespace */
  #fanOut(
    namespace: string,
    envelope: Envelope,
    audience: Audience<ConnectionType['id']>,
  ): Delivery | undefined {
    const delivery = this.#members.namespaces.get(namespace)?.broadcast(envelope, audience);
    if (delivery === undefined) return undefined;
    if (delivery.recipients > 0) this.#counters.broadcasts++;
    trace('broadcast', this, namespace, envelope.byteLength, delivery.recipients);
    return delivery;
  }

  /** `broadcastMessage` of a value as JSON text. @throws {TypeError} (rejects) JSON cannot express it */
  async broadcastJsonMessage<M = unknown>(
    namespace: string,
    value: M,
    audience?: AudienceArgument<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    return this.broadcastMessage(namespace, encodeJson(value) as Message, audience);
  }

  /**
   * Broadcasts an error: a message as it is, any other value as JSON, an `Error` as JSON of its `message` and own fields.
   * With a `code` the error is fatal, and every recipient is closed after it; the promise does not wait for that.
   *
   * @throws {TypeError | RangeError} (rejects) as `broadcastMessage` and `close` do; nothing is sent then
   */
  async broadcastError<M = unknown>(
    namespace: string,
    message: M,
    code?: number,
    reason = '',
    audience?: AudienceArgument<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    assertNamespace(namespace);
    // Also without a code: an audience given as the reason must not become a message to everybody.
    assertCloseArguments(code === undefined ? CloseCode.InternalError : code, reason);
    if (code === undefined)
      return this.broadcastMessage(namespace, encodeError(message) as Message, audience);
    const read = toAudience(audience);
    const recipients = this.#members.namespaces.get(namespace)?.membersOf(read) ?? [];
    const encoded = encodeError(message) as Message;
    const left = toArgument(this.#cluster.broadcastFatal(namespace, read, encoded, { code, reason }));
    const result = this.broadcastMessage(namespace, encoded, left);
    for (const connection of recipients) void coreOf(connection).closeReported(code, reason);
    return result;
  }

  /** Writes everything that was broadcast in this turn now, however long it takes. */
  flush(): void {
    this.#endOfTurn.flush();
  }

  // ---------------------------------------------------------------- drain

  /**
   * Closes every connection of every namespace: at most `maxPerSecond` now, the next a second later, and so on. From
   * this instant the pool is `draining` and refuses newcomers. A call during a drain joins it.
   *
   * Nodes of a cluster that drain at the same time share the lowest of their rates.
   *
   * @param maxPerSecond connections closed in any one second, over all namespaces; an integer of at least 1
   * @param reason at most 123 bytes of UTF-8
   * @param code default 1012 (Service Restart: clients come back); 1000 tells clients not to
   * @returns the report, when the last socket has closed or was terminated
   * @throws {TypeError | RangeError} (rejects) the rate, code or reason is out of range; nothing is closed then
   */
  drainConnections(maxPerSecond?: number, reason?: string, code?: number): Promise<DrainReport>;
  /** The same, with the pace in detail: a deadline, small slices, jitter, a signal. */
  drainConnections(options: DrainOptions): Promise<DrainReport>;
  async drainConnections(
    rateOrOptions?: number | DrainOptions,
    reason?: string,
    code?: number,
  ): Promise<DrainReport> {
    const plan = planFrom(rateOrOptions, reason, code, this.#settings.closeTimeout);
    return this.#drains.run(plan);
  }

  // ---------------------------------------------------------------- observing

  /** What the pool holds and has done. Cheap: it only reads counters. */
  stats(): PoolStats {
    const { size, roomCount, namespaces } = this.#members;
    return { connections: size, namespaces: namespaces.size, rooms: roomCount, ...this.#counters };
  }

  /** What `util.inspect` and `console.log` show. */
  [Symbol.for('nodejs.util.inspect.custom')](
    _depth: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    const namespaces = new Map([...this.connections].map(([name, { size }]) => [name, size]));
    const shown = { draining: this.draining, connections: this.#members.size, namespaces };
    return `${this.constructor.name} ${inspect(shown, options)}`;
  }

  // ---------------------------------------------------------------- inside

  protected override assertMessage(message: unknown): void {
    // Other nodes can only be sent bytes.
    if (!this.#members.isLenient || this.#cluster.isOn) assertWebSocketMessage(message);
    this.#cluster.assertMessage(message);
  }

  protected override get elsewhere(): Elsewhere | undefined {
    return this.#cluster.isOn ? this.#cluster : undefined;
  }

  protected override onError(): void {
    this.#counters.errors++;
  }
}

function assertConnection(connection: unknown): void {
  if (connection instanceof Connection) return;
  throw new TypeError(expected('a Connection', connection));
}
