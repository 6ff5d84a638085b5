import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { acceptConnections, gracefulShutdown, type DrainReport } from '@soketi/connections';
import { WebSocketServer } from 'ws';
import { createChat, Member, newcomer, tellStats, type Chat } from './chat.js';
import { createListener } from './http.js';
import { createMetrics } from './metrics.js';
import { MAX_MESSAGE_BYTES } from './protocol.js';

const STATS_INTERVAL_MS = 1_000;

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
}

export interface RunningServer {
  readonly url: string;
  readonly chat: Chat;
  /** Refuses newcomers with 1013, closes every connection at the rate, then the server. */
  readonly shutdown: () => Promise<DrainReport>;
}

/** HTTP and WebSockets on one port. */
export async function startServer({
  port = 8080,
  host = '127.0.0.1',
  drainPerSecond = 1000,
  allowedOrigins = [],
  signals = [],
}: ServerOptions = {}): Promise<RunningServer> {
  const chat = createChat();
  const server = createServer(createListener(() => lifecycle.isReady, createMetrics(chat)));
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
    createConnection: ({ id, namespace }, socket) => new Member(id, namespace, socket),
  });
  server.listen(port, host);
  await once(server, 'listening');
  const statsTimer = setInterval(() => tellStats(chat), STATS_INTERVAL_MS);
  server.on('close', () => clearInterval(statsTimer));
  return { url: urlOf(server), chat, shutdown: () => lifecycle.shutdown() };
}

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
