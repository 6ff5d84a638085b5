// Fastify 5 with @fastify/websocket: its hooks decide who may connect.
import { randomUUID } from 'node:crypto';
import websocket from '@fastify/websocket';
import { Connection, ConnectionsPool, gracefulShutdown, isOriginAllowed } from '@soketi/connections';
import fastify, { type preValidationAsyncHookHandler } from 'fastify';

const { PORT = 8080 } = process.env;
const pool = new ConnectionsPool({ heartbeat: true });
pool.on('error', (error) => console.error(error));

// It bounds `preClose` as well, so it has to be longer than the drain: the default, 10 s, cuts off long ones.
export const app = fastify({ pluginTimeout: 120_000 });
await app.register(websocket, {
  options: { maxPayload: 64 * 1024 },
  // The default closes all clients at once, with 1005. This drains, and `app.close()` waits for it.
  preClose: (done) => void lifecycle.shutdown().then(() => done(), done),
});

const lifecycle = gracefulShutdown({
  server: app.server,
  webSocketServer: app.websocketServer,
  pool,
  drain: { maxPerSecond: 100 },
  signals: ['SIGTERM', 'SIGINT'],
});
// A signal drains first, because Fastify refuses all requests as soon as `close()` is called. Its hooks follow.
void lifecycle.closed.then(() => app.close());

app.get('/readyz', (_request, reply) => reply.code(lifecycle.isReady ? 200 : 503).send());

// Authenticate in a hook, before the handshake. In the handler, an `await` before `new Connection` loses early messages.
const preValidation: preValidationAsyncHookHandler = async (request, reply) => {
  if (!isOriginAllowed(request.raw)) await reply.code(403).send();
};
app.get('/ws', { websocket: true, preValidation }, (socket) => {
  const connection = new Connection(randomUUID(), 'lobby', socket);
  connection.on('message', (message) => void pool.broadcastMessage('lobby', message));
  void pool.newConnection(connection);
});

await app.listen({ port: Number(PORT), host: '0.0.0.0' });
console.log('Listening on', app.server.address());
