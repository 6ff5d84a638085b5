import type { WebSocketMessage } from './message.js';
import type { Capabilities, NativeConnectionHandlers, NativeWebsocket } from './native-websocket.js';
import type { RemoteConnection } from './remote-connection.js';

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

/** What a connection offers to those who are given one. */
export interface IConnection<ID = string, Message = WebSocketMessage, NativeConnection = NativeWebsocket> {
  readonly id: ID;
  readonly namespace: string;
  readonly connection: NativeConnection;
  readonly handlers: NativeConnectionHandlers<Message> | undefined;
  readonly closed: boolean;
  readonly bufferedAmount: number;
  readonly capabilities: Capabilities;
  on<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => void): unknown;
  send<M extends Message = Message>(message: M): Promise<boolean>;
  sendJson<M = unknown>(value: M): Promise<boolean>;
  sendError<M = unknown>(message: M, code?: number, reason?: string): Promise<boolean>;
  sendThenClose<M extends Message = Message>(message: M, code?: number, reason?: string): Promise<boolean>;
  sendJsonThenClose<M = unknown>(value: M, code?: number, reason?: string): Promise<boolean>;
  sendErrorThenClose<M = unknown>(message: M, code?: number, reason?: string): Promise<boolean>;
  close(code?: number, reason?: string): Promise<void>;
  terminate(): void;
  updateTimeout(): void;
  clearTimeout(): void;
  toRemote(instanceId?: string): RemoteConnection<ID>;
}
