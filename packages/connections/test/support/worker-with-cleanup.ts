import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectionsPool, gracefulShutdown } from '../../src/index.js';

/** A program: a primary with one worker, which ends with status 3 if what it does after its shutdown is done. */
if (cluster.isPrimary) {
  const worker = cluster.fork();
  worker.on('listening', () => process.send!({ pid: worker.process.pid }));
  worker.on('exit', (status, signal) => {
    process.send!({ status, signal }, () => process.disconnect());
  });
} else {
  const server = createServer();
  const lifecycle = gracefulShutdown({ server, pool: new ConnectionsPool(), signals: ['SIGTERM'] });
  // Such a listener holds the channel open, and the process with it.
  process.on('message', () => undefined);
  void lifecycle.closed.then(async () => {
    await delay(100);
    process.exitCode = 3;
  });
  server.listen(0, '127.0.0.1');
}
