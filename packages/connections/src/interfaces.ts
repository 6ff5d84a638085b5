import type { AnyConnection, Connection } from './connection.js';
import type { ConnectionsPool } from './connections-pool.js';
import type { NativeWebsocket } from './sockets/native-websocket.js';
import type { WebSocketMessage } from './wire/message.js';

/** The public members of a `Connection`, for types of your own. */
export type IConnection<
  ID = string,
  Message = WebSocketMessage,
  NativeConnection = NativeWebsocket,
  Data = unknown,
> = Pick<
  Connection<ID, Message, NativeConnection, Data>,
  keyof Connection<ID, Message, NativeConnection, Data>
>;

/** A `Connection` with `data` of this type, and with an id, messages and a socket of the usual types. */
export type ConnectionOf<Data> = Connection<string, WebSocketMessage, NativeWebsocket, Data>;

/** The public members of a `ConnectionsPool`, for types of your own. */
export type IConnectionsPool<
  Message = WebSocketMessage,
  ConnectionType extends AnyConnection = Connection<string, Message>,
> = Pick<ConnectionsPool<Message, ConnectionType>, keyof ConnectionsPool<Message, ConnectionType>>;
