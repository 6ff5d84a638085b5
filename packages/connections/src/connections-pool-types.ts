import type { AnyConnection, Connection } from './connection.js';
import type { ConnectionsPool } from './connections-pool.js';
import type { Counters } from './counters.js';
import type { DrainReport } from './drain.js';
import type { WebSocketMessage } from './message.js';

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

/** What a pool offers to those who are given one: the public side of `ConnectionsPool`, for types of one's own. */
export type IConnectionsPool<
  Message = WebSocketMessage,
  ConnectionType extends AnyConnection = Connection<string, Message>,
> = Pick<
  ConnectionsPool<Message, ConnectionType>,
  | 'connections'
  | 'draining'
  | 'namespace'
  | 'hasNamespace'
  | 'getConnection'
  | 'newConnection'
  | 'removeConnection'
  | 'send'
  | 'sendJson'
  | 'sendError'
  | 'sendThenClose'
  | 'sendJsonThenClose'
  | 'sendErrorThenClose'
  | 'close'
  | 'closeAll'
  | 'broadcastMessage'
  | 'broadcastJsonMessage'
  | 'broadcastError'
  | 'flush'
  | 'drainConnections'
  | 'stats'
  | 'on'
  | 'once'
  | 'off'
>;
