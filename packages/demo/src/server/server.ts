import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  acceptConnections,
  gracefulShutdown,
  type ClusterAdapter,
  type DrainReport,
} from '@soketi/connections';
import { WebSocketServer } from 'ws';
import { createChat, newcomer, type Chat } from './chat.js';
import { createListener, type Route } from './http.js';
import { createMetrics } from './metrics.js';
import { Presence } from './presence.js';
import { MAX_MESSAGE_BYTES } from './protocol.js';

/** How many tabs one user may have open, on each node. */
const MAX_TABS = 10;

export interface ServerOptions {
  /** 0 for any free one. @default 8080 */
  readonly port?: number;
  /** Address to listen on. @default '127.0.0.1': this machine only */
  readonly host?: string;
  /** Connections closed in any one second of a shutdown. @default 1000 */
  readonly drainPerSecond?: number;
  /** Origins of pages that may connect, besides the server's own. @default none */
  readonly allowedOrigins?: readonly string[];
  /** Signals that shut down; a second one ends the process at once. @default none */
  readonly signals?: readonly NodeJS.Signals[];
  /** The name of this node, which clients are told. @default 'node 1' */
  readonly nodeName?: string;
  /**
   * Connects this process to the other nodes: called with the prefix of each pool. @default none: there are no others
   */
  readonly adapter?: ((prefix: string) => ClusterAdapter) | undefined;
  /** Further paths to serve. @default none */
  readonly routes?: readonly Route[];
}

export interface RunningServer {
  readonly url: string;
  readonly server: Server;
  readonly chat: Chat;
  /** Refuses newcomers with 1013, closes every connection at the rate, then the server. */
  readonly shutdown: () => Promise<DrainReport>;
  /** Resolves when a shutdown is done: time to close a broker. */
  readonly closed: Promise<unknown>;
}

/** HTTP and WebSockets on one port. */
export async function startServer({
  port = 8080,
  host = '127.0.0.1',
  drainPerSecond = 1000,
  allowedOrigins = [],
  signals = [],
  nodeName,
  adapter,
  routes = [],
}: ServerOptions = {}): Promise<RunningServer> {
  const chat = createChat({ nodeName, adapter: adapter?.('chat') });
  const presence = new Presence(chat, { nodeName, adapter: adapter?.('presence') });
  const metrics = createMetrics(chat, nodeName);
  const server = createServer(createListener(() => lifecycle.isReady, metrics, routes));
  const webSocketServer = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  const lifecycle = gracefulShutdown({
    server,
    webSocketServer,
    pool: chat,
    drain: { maxPerSecond: drainPerSecond, reason: 'The server restarts' },
    signals,
    onError: (error) => {
      console.error('The shutdown failed:', error);
      process.exit(1);
    },
  });

  acceptConnections({
    server,
    webSocketServer,
    pool: chat,
    path: '/ws',
    origins: allowedOrigins,
    // Pages cannot see an HTTP status.
    refuseWith: 'close',
    authenticate: newcomer,
    maxPer: {
      limit: MAX_TABS,
      key: (_request, who) => who && JSON.stringify([who.namespace, who.data.name]),
    },
  });
  server.listen(port, host);
  await once(server, 'listening');
  const closed = lifecycle.closed.then(() => presence.leave());
  return { url: urlOf(server), server, chat, shutdown: () => lifecycle.shutdown(), closed };
}

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
