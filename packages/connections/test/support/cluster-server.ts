import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/** A program: a primary with one worker, which a signal shuts down. Tells of the worker, then of its end. */
if (cluster.isPrimary) {
  const worker = cluster.fork();
  worker.on('listening', ({ port }) => process.send!({ pid: worker.process.pid, port }));
  worker.on('exit', (status, signal) => {
    process.send!({ status, signal }, () => process.disconnect());
  });
} else {
  const server = createServer();
  const webSocketServer = new WebSocketServer({ server });
  const pool = new ConnectionsPool();
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Connection('1', 'default', socket));
  });
  gracefulShutdown({ server, webSocketServer, pool, signals: ['SIGTERM'] });
  server.listen(0, '127.0.0.1');
}
