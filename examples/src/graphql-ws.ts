// graphql-ws keeps its handler; the pool adds authentication, the heartbeat and the paced drain.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { acceptConnections, Connection, ConnectionsPool, gracefulShutdown } from '@soketi/connections';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const { PORT = 8080 } = process.env;
const schema = buildSchema('type Query { hello: String } type Subscription { ticks: Int }');
const roots = {
  query: { hello: () => 'world' },
  subscription: {
    async *ticks() {
      for (let ticks = 0; ; ticks++) {
        yield { ticks };
        await new Promise((resolve) => setTimeout(resolve, 1000).unref());
      }
    },
  },
};

const pool = new ConnectionsPool({ heartbeat: true });
pool.on('error', (error) => console.error(error));
const server = createServer((request, response) => {
  if (request.url === '/readyz') response.writeHead(lifecycle.isReady ? 200 : 503).end();
  else response.writeHead(404).end();
});
const webSocketServer = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
const lifecycle = gracefulShutdown({
  server,
  webSocketServer,
  pool,
  drain: { maxPerSecond: 100 },
  signals: ['SIGTERM', 'SIGINT'],
});

// 0: the heartbeat of the pool replaces its own, which uses two timers for each client. Do not call its `dispose()`:
// that closes all clients at once, with 1001.
useServer({ schema, roots }, webSocketServer, 0);

acceptConnections({
  server,
  webSocketServer,
  pool,
  path: '/graphql',
  authenticate: () => ({ id: randomUUID(), namespace: 'graphql' }),
  createConnection: ({ id, namespace }, socket, request) => {
    // graphql-ws reads and writes the socket itself. Limits on slow readers and inbound rates do not apply to it.
    webSocketServer.emit('connection', socket, request);
    return new Connection(id, namespace, socket);
  },
});

server.listen(Number(PORT), () => console.log('Listening on', server.address()));
