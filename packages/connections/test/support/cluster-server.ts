import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/** How many clients each server of the worker closes per second; each server has a pool of its own. */
const RATES = process.argv.slice(2).map(Number);

/** A program: a primary with one worker, which a signal shuts down. Reports each server of the worker, then its end. */
if (cluster.isPrimary) {
  const worker = cluster.fork();
  const ports: number[] = [];
  worker.on('listening', ({ port }) => {
    ports.push(port);
    if (ports.length === RATES.length) process.send!({ pid: worker.process.pid, ports });
  });
  worker.on('exit', (status, signal) => {
    process.send!({ status, signal }, () => process.disconnect());
  });
} else {
  for (const maxPerSecond of RATES) {
    const server = createServer();
    const webSocketServer = new WebSocketServer({ server });
    const pool = new ConnectionsPool();
    let joined = 0;
    webSocketServer.on('connection', (socket) => {
      void pool.newConnection(new Connection(String(joined++), 'default', socket));
    });
    gracefulShutdown({ server, webSocketServer, pool, drain: { maxPerSecond }, signals: ['SIGTERM'] });
    server.listen(0, '127.0.0.1');
  }
}
