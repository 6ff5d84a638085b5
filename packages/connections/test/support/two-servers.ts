import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/** A program: a public and an internal server that share one pool, with a shutdown each. */
const pool = new ConnectionsPool();
const ports: number[] = [];
let joined = 0;
for (let made = 0; made < 2; made++) {
  const server = createServer();
  const webSocketServer = new WebSocketServer({ server });
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Connection(String(joined++), 'default', socket));
  });
  gracefulShutdown({ server, webSocketServer, pool, drain: { maxPerSecond: 20 }, signals: ['SIGTERM'] });
  server.listen(0, '127.0.0.1', () => {
    ports.push((server.address() as AddressInfo).port);
    if (ports.length < 2) return;
    process.send!(ports);
    process.channel!.unref();
  });
}
