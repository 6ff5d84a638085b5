export { Connection } from './connection.js';
export type { CloseAllOptions } from './close-all.js';
export { ConnectionsPool } from './connections-pool.js';
export type { PoolStats } from './counters.js';
export type { ConnectionEvents, PoolEvents } from './events.js';
export type { ConnectionOf, IConnection, IConnectionsPool } from './interfaces.js';
export type { RemoteConnection } from './remote-connection.js';

export type {
  AudienceArgument,
  AudienceOptions,
  BroadcastOptions,
  ConflateOptions,
  SendOptions,
} from './audience.js';
export type {
  ConnectionsPoolOptions,
  HeartbeatOptions,
  RateDecision,
  RateLimitOptions,
  RatePolicy,
  SlowDecision,
  SlowPolicy,
} from './options.js';
export type { BroadcastResult } from './sending/delivery.js';
export type { ReceivedMessage, WebSocketMessage } from './wire/message.js';
export type { Capabilities, NativeConnectionHandlers, NativeWebsocket } from './sockets/native-websocket.js';

export type { DrainOptions } from './drain/drain-options.js';
export type { DrainCounts, DrainProgress, DrainReport } from './drain-report.js';
export {
  gracefulShutdown,
  type GracefulShutdown,
  type GracefulShutdownOptions,
} from './drain/graceful-shutdown.js';

export { acceptConnections, type Acceptor } from './accepting/accept-connections.js';
export type {
  AcceptOptions,
  Answer,
  Identity,
  IdentityWithoutData,
  MaxPer,
  Refusal,
} from './accepting/accept-options.js';
export { isOriginAllowed } from './accepting/origin.js';
export { refuseUpgrade, type RefusalHeaders } from './upgrades/refusal.js';

export { CloseCode } from './close-codes.js';
export { ConnectionsError, type ConnectionsErrorCode } from './errors.js';
export type { DiagnosticsPayloads } from './diagnostics.js';

export type { Cluster } from './cluster/cluster.js';
export type { ClusterAdapter, ClusterLink, ClusterTraits } from './cluster/adapter.js';
export type {
  ClusterCount,
  ClusterState,
  Degradation,
  NodeChange,
  NodeDrain,
  NodeInfo,
  Recovery,
} from './cluster/cluster-info.js';
export type { ClusterOptions } from './cluster/cluster-options.js';
export type { ClusterStats } from './cluster/cluster-stats.js';
