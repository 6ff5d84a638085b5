import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/** A program: a server that a signal shuts down, at one connection per second. */
const server = createServer();
const webSocketServer = new WebSocketServer({ server });
const pool = new ConnectionsPool();
let joined = 0;
webSocketServer.on('connection', (socket) => {
  void pool.newConnection(new Connection(String(joined++), 'default', socket));
});
gracefulShutdown({
  server,
  webSocketServer,
  pool,
  drain: { maxPerSecond: 1 },
  signals: ['SIGTERM', 'SIGINT'],
});
server.listen(0, '127.0.0.1', () => {
  process.send!((server.address() as AddressInfo).port);
  // Only the server remains: the process ends when it has closed.
  process.channel!.unref();
});
