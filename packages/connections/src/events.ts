import type { Degradation, NodeChange, NodeInfo, Recovery } from './cluster/cluster-info.js';
import type { DrainReport } from './drain-report.js';
import type { ConnectionsError } from './errors.js';
import type { ReceivedMessage } from './wire/message.js';

/** Events of a connection and the arguments of their listeners. */
export interface ConnectionEvents {
  /** A message: text as a `string`, binary as a `Uint8Array` (a `Buffer` from `ws`). Not once closing has begun. */
  message: [message: ReceivedMessage, isBinary: boolean];
  /** The socket has closed. 1005: without a code; 1006: without a close frame. Emitted once. */
  close: [code: number, reason: string];
  /** The socket, a handler or a listener failed. Never thrown if nobody listens. */
  error: [error: Error];
  /** A slow reader has room again: its socket is empty or, if it does not tell, half of the bound is free. */
  drain: [];
  /** A pong arrived. */
  pong: [];
}

/** Events of a pool and the arguments of their listeners. */
export interface PoolEvents<C> {
  /** A connection has joined. */
  connection: [connection: C];
  /** A connection has left. `code` is `undefined` if it was removed or released and may still be open. */
  disconnection: [connection: C, code: number | undefined, reason: string];
  /**
   * A connection was not added, and is closed: `ERR_POOL_DRAINING`, `ERR_DUPLICATE_CONNECTION` or
   * `ERR_CONNECTION_CLOSED`.
   */
  refused: [connection: C, error: ConnectionsError];
  /** A connection has joined a room. */
  join: [connection: C, room: string];
  /** A connection has left a room, by itself or with the pool. Comes after its `disconnection`. */
  leave: [connection: C, room: string];
  /** The last connection of a room has left. Not for a room of which no `join` has told. */
  emptyRoom: [namespace: string, room: string];
  /** The last connection of a namespace has left. */
  emptyNamespace: [namespace: string];
  /** A connection has become a slow reader; once until its `drain`. */
  slow: [connection: C, bufferedAmount: number];
  /** A drain is done. */
  drain: [report: DrainReport];
  /** Another node of the cluster has come, said goodbye (`left`), or was silent for `nodeTimeout` (`lost`). */
  node: [node: NodeInfo, change: NodeChange];
  /** The cluster is not `up` any more; once until it is. */
  degraded: [degradation: Degradation];
  /** The cluster is `up` again. */
  recovered: [recovery: Recovery];
  /**
   * A socket, a handler or a listener failed; `connection` is the one that it was about. A connection whose `connection`
   * listener has failed stays open and in the pool. Never thrown if nobody listens; the first one is a process warning.
   */
  error: [error: Error, connection: C | undefined];
}
