// Hono 4 on @hono/node-server 2. Anyone may connect, from pages of this host.
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { acceptConnections, ConnectionsPool, gracefulShutdown } from '@soketi/connections';
import { Hono } from 'hono';
import { WebSocketServer } from 'ws';

const { PORT = 8080 } = process.env;
const pool = new ConnectionsPool({ heartbeat: true });
pool.on('error', (error) => console.error(error));

const app = new Hono();
app.get('/readyz', (context) => context.body(null, lifecycle.isReady ? 200 : 503));

// Not `serve()`, which listens at once. Leave out its `websocket` option too: two answers to one upgrade break it.
const server = createAdaptorServer({ fetch: app.fetch }) as Server;
const webSocketServer = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
const lifecycle = gracefulShutdown({
  server,
  webSocketServer,
  pool,
  drain: { maxPerSecond: 100 },
  signals: ['SIGTERM', 'SIGINT'],
});

acceptConnections({
  server,
  webSocketServer,
  pool,
  path: '/ws',
  // Upgrades do not run Hono's middleware. For sessions and tokens see the two Express examples.
  authenticate: () => ({ id: randomUUID(), namespace: 'lobby' }),
});

pool.on('connection', (connection) => {
  connection.on('message', (message) => void pool.broadcastMessage('lobby', message));
});

server.listen(Number(PORT), () => console.log('Listening on', server.address()));
