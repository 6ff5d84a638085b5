// node:http and ws. Anyone may connect, from pages of this host or of ALLOWED_ORIGINS.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { acceptConnections, ConnectionsPool, gracefulShutdown } from '@soketi/connections';
import { WebSocketServer } from 'ws';

const { PORT = 8080, ALLOWED_ORIGINS = '' } = process.env;
// examples/kubernetes computes terminationGracePeriodSeconds from these three.
const { MAX_CONNECTIONS = 5000, DRAIN_PER_SECOND = 100, READINESS_DELAY_MS = 0 } = process.env;

// Without a heartbeat, proxies cut quiet connections and dead peers stay for hours.
const pool = new ConnectionsPool({ heartbeat: true });

const server = createServer((request, response) => {
  // Readiness only. A liveness probe that asks this would kill the process while it drains.
  if (request.url === '/readyz') response.writeHead(lifecycle.isReady ? 200 : 503).end();
  else response.writeHead(404).end();
});

// The default of ws lets a client send messages of 100 MiB.
const webSocketServer = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });

// The process ends by itself when all clients have left. Do not call process.exit() on a signal.
const lifecycle = gracefulShutdown({
  server,
  webSocketServer,
  pool,
  drain: { maxPerSecond: Number(DRAIN_PER_SECOND) },
  readinessDelay: Number(READINESS_DELAY_MS),
  signals: ['SIGTERM', 'SIGINT'],
});

acceptConnections({
  server,
  webSocketServer,
  pool,
  path: '/ws',
  origins: ALLOWED_ORIGINS.split(',').filter(Boolean),
  maxConnections: Number(MAX_CONNECTIONS),
  // An id per connection: a user may have several tabs.
  authenticate: () => ({ id: randomUUID(), namespace: 'lobby' }),
});

pool.on('connection', (connection) => {
  // Listen here, without an `await` before it, so that the first message cannot get lost.
  connection.on('message', (message) => void pool.broadcastMessage('lobby', message));
});
// Errors of the heartbeat, the drain and your listeners are reported here. Nothing is logged otherwise.
pool.on('error', (error) => console.error(error));

server.listen(Number(PORT), () => console.log('Listening on', server.address()));
