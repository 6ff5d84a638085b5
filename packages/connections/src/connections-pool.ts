/* eslint-disable max-lines -- the public surface of a pool: a method for each way to send, most of them one line */
import { captureRejectionSymbol, EventEmitter } from 'node:events';
import { assertFunction, assertNamespace, toIds } from './arguments.js';
import { assertCloseArguments, CloseCode } from './close-codes.js';
import { closeReported, Connection, type AnyConnection } from './connection.js';
import type { PoolEvents, PoolStats } from './connections-pool-types.js';
import { newCounters } from './counters.js';
import { Drain, type DrainReport } from './drain.js';
import {
  DEFAULT_MAX_PER_SECOND,
  planBatches,
  planDrain,
  type DrainOptions,
  type DrainPlan,
} from './drain-options.js';
import { trace } from './diagnostics.js';
import { ConnectionsError, expected, show, toError } from './errors.js';
import { assertWebSocketMessage, encodeError, encodeJson, type WebSocketMessage } from './message.js';
import {
  resolveOptions,
  type ConnectionsPoolOptions,
  type PoolSettings,
  type SlowDecision,
} from './options.js';
import { Outgoing, type BroadcastResult } from './outgoing.js';
import type { Outbox } from './outbox.js';
import { kJoined, kLeft, kOutbox, kPool, type PoolLink } from './pool-link.js';
import { Registry } from './registry.js';
import { Turn } from './turn.js';

const NOBODY: BroadcastResult = Object.freeze({ recipients: 0, sent: 0, dropped: 0, failed: 0 });

/**
 * All connections of a process: namespace -> id -> connection.
 *
 * Made to be extended. Everything that a call changes has changed when it returns; its promise tells the outcome.
 *
 * @typeParam Message what may be sent
 * @typeParam ConnectionType class of the connections
 */
export class ConnectionsPool<
  Message = WebSocketMessage,
  ConnectionType extends AnyConnection = Connection<string, Message>,
> extends EventEmitter<PoolEvents<ConnectionType>> {
  readonly #turn = new Turn();
  readonly #settings: PoolSettings<ConnectionType>;
  readonly #counters = newCounters();
  readonly #link: PoolLink<AnyConnection>;
  /** Connections whose closing emptied their namespace and whose `removeConnection` may still come for it. */
  readonly #emptiedBy = new WeakSet<ConnectionType>();
  readonly #registry: Registry<ConnectionType>;
  #draining = false;
  #drain: Drain | undefined;
  #drainGraceMs: number | undefined;

  /**
   * @throws {TypeError | RangeError} an option has the wrong type or is out of range
   */
  constructor(options: ConnectionsPoolOptions<NoInfer<ConnectionType>> = {}) {
    // A rejected async listener is an `error` event, as a throwing one is.
    super({ captureRejections: true });
    this.#settings = resolveOptions(options);
    const { maxBufferedBytes, historyBytes } = this.#settings;
    this.#registry = new Registry(this.#turn, { maxBufferedBytes, historyBytes, counters: this.#counters });
    this.#link = this.#makeLink();
  }

  #makeLink(): PoolLink<AnyConnection> {
    const graceMs = (): number => this.#drainGraceMs ?? this.#settings.closeTimeout;
    return {
      settings: this.#settings,
      counters: this.#counters,
      get closeTimeoutMs() {
        return graceMs();
      },
      onClosed: (connection, code, reason) => {
        if (this.#leave(connection as ConnectionType, code, reason))
          this.#emptiedBy.add(connection as ConnectionType);
      },
      onFailure: (connection, error) => this.#reportError(error, connection as ConnectionType),
      onSlow: (connection, outgoing, isNew) => this.#decide(connection as ConnectionType, outgoing, isNew),
    };
  }

  /** The connections, live. To be read: what is added or deleted here is unknown to the pool. */
  get connections(): Map<string, Map<ConnectionType['id'], ConnectionType>> {
    return this.#registry.connections;
  }

  /** The pool takes no newcomers: a drain has begun. It stays so when the drain is done. */
  get draining(): boolean {
    return this.#draining;
  }

  /** The connections of a namespace, live; an empty map of nobody's when there is no such namespace. */
  namespace(namespace: string): Map<ConnectionType['id'], ConnectionType> {
    return this.connections.get(namespace) ?? new Map<ConnectionType['id'], ConnectionType>();
  }

  /** Whether the namespace has connections. */
  hasNamespace(namespace: string): boolean {
    return this.connections.has(namespace);
  }

  /** The connection that has the id in the namespace now. */
  getConnection(namespace: string, id: ConnectionType['id']): ConnectionType | undefined {
    return this.#registry.find(namespace, id);
  }

  /**
   * Adds a connection, at once; from then on the pool removes it by itself when it closes. One that has closed
   * already is not added, and one that is in the pool already stays.
   *
   * A refusal that nobody awaits is no unhandled rejection: which clients come twice is not in the caller's hands.
   *
   * @throws {TypeError} (rejects) no `Connection`
   * @throws {ConnectionsError} (rejects) `ERR_DUPLICATE_CONNECTION`: the id is taken, nothing has changed;
   * `ERR_POOL_DRAINING`: the pool is draining, the connection is being closed with 1013;
   * `ERR_CONNECTION_IN_USE`: it is in another pool
   */
  newConnection(connection: ConnectionType): Promise<void> {
    try {
      assertConnection(connection);
    } catch (error) {
      return Promise.reject(toError(error));
    }
    const refusal = this.#refusalOf(connection);
    if (refusal === undefined) {
      this.#join(connection);
      return Promise.resolve();
    }
    this.#counters.refused++;
    const refused: Promise<void> = Promise.reject(refusal);
    refused.catch(() => undefined);
    return refused;
  }

  /**
   * Removes this connection, at once; another that has taken its id stays. It is not closed.
   *
   * @param onEmptyNamespace called once, when this was the last connection of its namespace: also when the pool
   * had removed it by itself because it closed, as long as nobody has joined the namespace since
   * @returns resolves when the callback has; rejects with what it throws
   */
  async removeConnection(connection: ConnectionType, onEmptyNamespace?: () => unknown): Promise<void> {
    assertConnection(connection);
    assertFunction('onEmptyNamespace', onEmptyNamespace);
    const hasEmptied = this.#leave(connection, undefined, '');
    const isClaimed = this.#emptiedBy.delete(connection) && !this.hasNamespace(connection.namespace);
    if (hasEmptied || isClaimed) await onEmptyNamespace?.();
  }

  /** `Connection.send` to one connection. @returns `false` also when there is none */
  async send<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
  ): Promise<boolean> {
    return this.#find(namespace, id)?.send(message) ?? false;
  }

  /** `Connection.sendJson` to one connection. @returns `false` also when there is none */
  async sendJson<M = unknown>(namespace: string, id: ConnectionType['id'], value: M): Promise<boolean> {
    return this.#find(namespace, id)?.sendJson(value) ?? false;
  }

  /** `Connection.sendError` to one connection. @returns `false` also when there is none */
  async sendError<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    return this.#find(namespace, id)?.sendError(message, code, reason) ?? false;
  }

  /** `Connection.sendThenClose` to one connection. @returns `false` also when there is none */
  async sendThenClose<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    return this.#find(namespace, id)?.sendThenClose(message, code, reason) ?? false;
  }

  /** `Connection.sendJsonThenClose` to one connection. @returns `false` also when there is none */
  async sendJsonThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    return this.#find(namespace, id)?.sendJsonThenClose(value, code, reason) ?? false;
  }

  /** `Connection.sendErrorThenClose` to one connection. @returns `false` also when there is none */
  async sendErrorThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    return this.#find(namespace, id)?.sendErrorThenClose(message, code, reason) ?? false;
  }

  /** `Connection.close` of one connection; nothing where there is none. */
  async close(namespace: string, id: ConnectionType['id'], code?: number, reason?: string): Promise<void> {
    await this.#find(namespace, id)?.close(code, reason);
  }

  /**
   * Closes all connections of a namespace, at once: see `drainConnections` for many. Resolves when all have closed.
   *
   * @throws {TypeError | RangeError} (rejects) code or reason cannot be sent; nothing has changed then
   */
  async closeAll(namespace: string, code: number = CloseCode.Normal, reason = ''): Promise<void> {
    assertNamespace(namespace);
    assertCloseArguments(code, reason);
    const connections = [...this.namespace(namespace).values()];
    await Promise.all(connections.map((connection) => closeReported(connection, code, reason)));
  }

  /**
   * Sends a message to all connections of a namespace, encoded once. It is written at the end of this turn of the
   * event loop, together with whatever else is broadcast there in the turn.
   *
   * Binary of more than 64 KiB is not copied: do not change it afterwards.
   *
   * @param exceptions ids that do not get it
   * @returns the counts, when every copy has been handed over or refused
   * @throws {TypeError} (rejects) the message is of no type that a WebSocket takes, and somebody needs it to be
   */
  async broadcastMessage<M extends Message = Message>(
    namespace: string,
    message: M,
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    return this.#broadcast(namespace, message, exceptions);
  }

  /** As `broadcastMessage`, of a value as JSON text. @throws {TypeError} (rejects) JSON cannot express it */
  async broadcastJsonMessage<M = unknown>(
    namespace: string,
    value: M,
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    return this.#broadcast(namespace, encodeJson(value), exceptions);
  }

  /**
   * Broadcasts an error: a message as it is, any other value as JSON. With a `code` the error is fatal, and those
   * who get it are closed behind it; the promise does not wait for that.
   *
   * @throws {TypeError | RangeError} (rejects) as `broadcastMessage` and `close` do; nothing is sent then
   */
  async broadcastError<M = unknown>(
    namespace: string,
    message: M,
    code?: number,
    reason = '',
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult> {
    if (code === undefined) return this.#broadcast(namespace, encodeError(message), exceptions);
    assertCloseArguments(code, reason);
    const excepted = new Set(toIds(exceptions));
    const result = this.#broadcast(namespace, encodeError(message), excepted);
    for (const connection of [...this.namespace(namespace).values()]) {
      if (!excepted.has(connection.id)) void closeReported(connection, code, reason);
    }
    return result;
  }

  /** Writes what was broadcast in this turn, now. */
  flush(): void {
    this.#turn.flush();
  }

  /**
   * Closes every connection of every namespace: at most `maxPerSecond` now, the next a second later, and so on.
   * From this instant the pool is `draining` and refuses newcomers.
   *
   * @param maxPerSecond connections closed in any one second, over all namespaces; an integer of at least 1
   * @param reason at most 123 bytes of UTF-8
   * @param code default 1012 (Service Restart: come back); 1000 tells clients not to
   * @returns what came of it, when the last socket has closed or was terminated
   * @throws {TypeError | RangeError} (rejects) the rate, code or reason is out of range; nothing is closed then
   * @throws {ConnectionsError} (rejects) `ERR_POOL_DRAINING`: a drain is running
   */
  drainConnections(maxPerSecond?: number, reason?: string, code?: number): Promise<DrainReport>;
  /** The same, with the pace in detail: a deadline, small slices, jitter, a signal. */
  drainConnections(options: DrainOptions): Promise<DrainReport>;
  async drainConnections(
    rateOrOptions: number | DrainOptions = DEFAULT_MAX_PER_SECOND,
    reason = '',
    code: number = CloseCode.ServiceRestart,
  ): Promise<DrainReport> {
    const { closeTimeout } = this.#settings;
    const plan =
      typeof rateOrOptions === 'object' && (rateOrOptions as DrainOptions | null) !== null
        ? planDrain(rateOrOptions, closeTimeout)
        : planBatches(rateOrOptions as number, reason, code, closeTimeout);
    plan.signal?.throwIfAborted();
    if (this.#drain !== undefined)
      throw new ConnectionsError('ERR_POOL_DRAINING', 'The pool is draining already');
    return this.#runDrain(plan);
  }

  /** A snapshot of what the pool holds and has done. Cheap: nothing is counted for it. */
  stats(): PoolStats {
    return { connections: this.#registry.size, namespaces: this.connections.size, ...this.#counters };
  }

  async #runDrain(plan: DrainPlan): Promise<DrainReport> {
    this.#draining = true;
    this.#counters.drains++;
    this.#drainGraceMs = plan.graceMs;
    this.#drain = new Drain(this.#registry.all(), { ...plan, onProgress: this.#guarded(plan.onProgress) });
    try {
      const report = await this.#drain.run();
      this.#emit('drain', report);
      return report;
    } catch (error) {
      this.#draining = false;
      throw error;
    } finally {
      this.#drain = undefined;
      this.#drainGraceMs = undefined;
    }
  }

  /** A callback of the user's that cannot break what calls it. */
  #guarded<T>(callback: ((value: T) => void) | undefined): ((value: T) => void) | undefined {
    return (
      callback &&
      ((value) => {
        try {
          callback(value);
        } catch (error) {
          this.#reportError(toError(error), undefined);
        }
      })
    );
  }

  #find(namespace: string, id: ConnectionType['id']): Connection<unknown, Message> | undefined {
    assertNamespace(namespace);
    return this.getConnection(namespace, id) as Connection<unknown, Message> | undefined;
  }

  #refusalOf(connection: ConnectionType): ConnectionsError | undefined {
    if (connection[kPool] !== undefined && connection[kPool] !== this.#link) {
      return new ConnectionsError('ERR_CONNECTION_IN_USE', `${describe(connection)} is in another pool`);
    }
    if (this.#draining && connection[kPool] === undefined) {
      void closeReported(connection, CloseCode.TryAgainLater, 'Draining');
      return new ConnectionsError(
        'ERR_POOL_DRAINING',
        `The pool is draining: ${describe(connection)} was refused`,
      );
    }
    const holder = this.#registry.find(connection.namespace, connection.id);
    // One that is closing does not keep its client from coming back.
    if (holder === undefined || holder === connection || holder.closed) return undefined;
    if (this.#settings.onDuplicate === 'replace') return undefined;
    return new ConnectionsError('ERR_DUPLICATE_CONNECTION', `${describe(connection)}: the id is taken`);
  }

  #join(connection: ConnectionType): void {
    if (connection[kPool] === this.#link || connection.closed) return;
    const replaced = this.#registry.add(connection);
    connection[kJoined](this.#link);
    if (replaced !== undefined) this.#replace(replaced);
    this.#emit('connection', connection);
  }

  #replace(connection: ConnectionType): void {
    const isLive = !connection.closed;
    const [code, reason] = isLive ? [CloseCode.Replaced, 'Replaced by a newer connection'] : [undefined, ''];
    if (code !== undefined) void closeReported(connection, code, reason);
    connection[kLeft]();
    this.#drain?.onGone(connection);
    this.#emit('disconnection', connection, code, reason);
  }

  /** Takes out this very connection. `true`: it was the last one of its namespace. */
  #leave(connection: ConnectionType, code: number | undefined, reason: string): boolean {
    if (!this.#registry.remove(connection)) return false;
    connection[kLeft]();
    this.#drain?.onGone(connection);
    const hasEmptied = !this.hasNamespace(connection.namespace);
    this.#emit('disconnection', connection, code, reason);
    // Unless one of those listeners had somebody join.
    if (!hasEmptied || this.hasNamespace(connection.namespace)) return false;
    this.#emit('emptyNamespace', connection.namespace);
    return true;
  }

  /** The one place where a message goes to many. */
  #broadcast(
    namespace: string,
    message: unknown,
    exceptions: Iterable<ConnectionType['id']> | undefined,
  ): Promise<BroadcastResult> {
    assertNamespace(namespace);
    const ids = toIds(exceptions);
    const fanOut = this.#registry.fanOutOf(namespace);
    if (fanOut === undefined) return Promise.resolve(NOBODY);
    if (fanOut.isStrict) assertWebSocketMessage(message);
    const excepted = new Set<Outbox>();
    for (const id of ids) {
      const connection = this.#registry.find(namespace, id);
      if (connection !== undefined) excepted.add(connection[kOutbox]);
    }
    this.#counters.broadcasts++;
    const outgoing = new Outgoing(message);
    const result = fanOut.broadcast(outgoing, [...excepted]);
    trace('broadcast', this, namespace, outgoing.byteLength, outgoing.recipients);
    return result;
  }

  #decide(connection: ConnectionType, { byteLength }: Outgoing, isNew: boolean): SlowDecision {
    if (isNew) this.#emit('slow', connection, connection.bufferedAmount);
    const { onSlow } = this.#settings;
    if (typeof onSlow !== 'function') return onSlow;
    try {
      return onSlow(connection, { byteLength });
    } catch (error) {
      this.#reportError(toError(error), connection);
      return 'close';
    }
  }

  #reportError(error: Error, connection: ConnectionType | undefined): void {
    this.#counters.errors++;
    trace('error', this, error, connection);
    if (this.listenerCount('error') === 0) return;
    try {
      EventEmitter.prototype.emit.call(this, 'error', error, connection);
    } catch {
      // A listener for errors that fails has nobody left to tell; it is counted.
      this.#counters.errors++;
    }
  }

  /** @internal */
  override [captureRejectionSymbol](error: Error, event: unknown, ..._args: unknown[]): void {
    if (event === 'error') this.#counters.errors++;
    else this.#reportError(toError(error), undefined);
  }

  /** Listeners that throw break nothing: their error is an event like any other. */
  #emit<E extends keyof PoolEvents<ConnectionType>>(event: E, ...args: PoolEvents<ConnectionType>[E]): void {
    trace(event, this, ...args);
    try {
      EventEmitter.prototype.emit.call(this, event, ...args);
    } catch (error) {
      this.#reportError(toError(error), undefined);
    }
  }
}

function describe({ namespace, id }: AnyConnection): string {
  return `Connection "${show(id)}" of namespace "${show(namespace)}"`;
}

function assertConnection(connection: unknown): void {
  if (connection instanceof Connection) return;
  throw new TypeError(expected('a Connection', connection));
}
