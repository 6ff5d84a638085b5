import type { Connection } from './connection.js';
import type { WebSocketMessage } from './message.js';
import type { NativeWebsocket } from './native-websocket.js';

/** Events of a connection and the arguments of their listeners. */
export interface ConnectionEvents {
  /** A message: text as a `string`, binary as a `Uint8Array` (a `Buffer` from `ws`). */
  message: [message: string | Uint8Array, isBinary: boolean];
  /** The socket has closed. 1005: without a code; 1006: without a close frame. Emitted once. */
  close: [code: number, reason: string];
  /** The socket, a handler or a listener failed. Never thrown for want of a listener. */
  error: [error: Error];
  /** A connection that was slow has room again. */
  drain: [];
  /** A pong arrived. */
  pong: [];
}

/** What a connection offers to those who are given one: the public side of `Connection`, for types of one's own. */
export type IConnection<ID = string, Message = WebSocketMessage, NativeConnection = NativeWebsocket> = Pick<
  Connection<ID, Message, NativeConnection>,
  | 'id'
  | 'namespace'
  | 'connection'
  | 'handlers'
  | 'closed'
  | 'bufferedAmount'
  | 'roundTripTime'
  | 'capabilities'
  | 'on'
  | 'once'
  | 'off'
  | 'send'
  | 'sendJson'
  | 'sendError'
  | 'sendThenClose'
  | 'sendJsonThenClose'
  | 'sendErrorThenClose'
  | 'close'
  | 'terminate'
  | 'updateTimeout'
  | 'clearTimeout'
  | 'toRemote'
>;
