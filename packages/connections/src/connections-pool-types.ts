import type { AnyConnection, Connection } from './connection.js';
import type { Counters } from './counters.js';
import type { DrainReport } from './drain.js';
import type { DrainOptions } from './drain-options.js';
import type { WebSocketMessage } from './message.js';
import type { BroadcastResult } from './outgoing.js';

/** Events of a pool and the arguments of their listeners. */
export interface PoolEvents<C> {
  /** A connection has joined. */
  connection: [connection: C];
  /** A connection has left. Without a code it was removed and may be open still. */
  disconnection: [connection: C, code: number | undefined, reason: string];
  /** The last connection of a namespace has left. */
  emptyNamespace: [namespace: string];
  /** A connection has become a slow reader; once until its `drain`. */
  slow: [connection: C, bufferedAmount: number];
  /** A drain is done. */
  drain: [report: DrainReport];
  /** A socket, handler or listener failed. Never thrown for want of a listener. */
  error: [error: Error, connection: C | undefined];
}

/** What a pool holds now, and what it has done since it was made. */
export interface PoolStats extends Readonly<Counters> {
  readonly connections: number;
  readonly namespaces: number;
}

/** What a pool offers to those who are given one. */
export interface IConnectionsPool<
  Message = WebSocketMessage,
  ConnectionType extends AnyConnection = Connection<string, Message>,
> {
  readonly connections: Map<string, Map<ConnectionType['id'], ConnectionType>>;
  readonly draining: boolean;
  namespace(namespace: string): Map<ConnectionType['id'], ConnectionType>;
  hasNamespace(namespace: string): boolean;
  getConnection(namespace: string, id: ConnectionType['id']): ConnectionType | undefined;
  newConnection(connection: ConnectionType): Promise<void>;
  removeConnection(connection: ConnectionType, onEmptyNamespace?: () => unknown): Promise<void>;
  send<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
  ): Promise<boolean>;
  sendJson<M = unknown>(namespace: string, id: ConnectionType['id'], value: M): Promise<boolean>;
  sendError<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean>;
  sendThenClose<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean>;
  sendJsonThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    code?: number,
    reason?: string,
  ): Promise<boolean>;
  sendErrorThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean>;
  close(namespace: string, id: ConnectionType['id'], code?: number, reason?: string): Promise<void>;
  closeAll(namespace: string, code?: number, reason?: string): Promise<void>;
  broadcastMessage<M extends Message = Message>(
    namespace: string,
    message: M,
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult>;
  broadcastJsonMessage<M = unknown>(
    namespace: string,
    value: M,
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult>;
  broadcastError<M = unknown>(
    namespace: string,
    message: M,
    code?: number,
    reason?: string,
    exceptions?: Iterable<ConnectionType['id']>,
  ): Promise<BroadcastResult>;
  flush(): void;
  drainConnections(maxPerSecond?: number, reason?: string, code?: number): Promise<DrainReport>;
  drainConnections(options: DrainOptions): Promise<DrainReport>;
  stats(): PoolStats;
}
