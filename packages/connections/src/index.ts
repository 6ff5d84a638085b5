export { Connection } from './connection.js';
export type { ConnectionEvents, IConnection } from './connection-types.js';
export type { RemoteConnection } from './remote-connection.js';

export { ConnectionsPool } from './connections-pool.js';
export type { IConnectionsPool, PoolEvents, PoolStats } from './connections-pool-types.js';
export type { ConnectionsPoolOptions, HeartbeatOptions, SlowDecision, SlowPolicy } from './options.js';
export type { BroadcastResult } from './outgoing.js';
export type { DrainCounts, DrainProgress, DrainReport } from './drain.js';
export type { DrainOptions } from './drain-options.js';

export {
  gracefulShutdown,
  type GracefulShutdown,
  type GracefulShutdownOptions,
} from './graceful-shutdown.js';
export type { DiagnosticsPayloads } from './diagnostics.js';

export type { WebSocketMessage } from './message.js';
export type { Capabilities, NativeConnectionHandlers, NativeWebsocket } from './native-websocket.js';

export { CloseCode } from './close-codes.js';
export { ConnectionsError, type ConnectionsErrorCode } from './errors.js';
