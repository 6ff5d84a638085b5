import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/**
 * A program: servers that share one pool, with a shutdown each that a signal begins. Its arguments are the rate and the
 * number of servers. Sends their ports.
 */
const [maxPerSecond, servers] = process.argv.slice(2).map(Number) as [number, number];
const pool = new ConnectionsPool();
const ports: number[] = [];
let joined = 0;
for (let made = 0; made < servers; made++) {
  const server = createServer();
  const webSocketServer = new WebSocketServer({ server });
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Connection(String(joined++), 'default', socket));
  });
  gracefulShutdown({
    server,
    webSocketServer,
    pool,
    drain: { maxPerSecond },
    signals: ['SIGTERM', 'SIGINT'],
  });
  server.listen(0, '127.0.0.1', () => {
    ports.push((server.address() as AddressInfo).port);
    if (ports.length < servers) return;
    process.send!(ports);
    // Only the servers remain: the process ends when they have closed.
    process.channel!.unref();
  });
}
