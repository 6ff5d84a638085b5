import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { memoryBus } from '../../src/testing.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

test('a graceful shutdown leaves the cluster when the last connection is gone, and not before', async () => {
  const bus = memoryBus();
  const [a, b] = [1, 2].map(() => new ConnectionsPool({ adapter: bus.adapter() })) as [
    ConnectionsPool,
    ConnectionsPool,
  ];
  onTestFinished(() => b.cluster.leave());
  await Promise.all([a, b].map((pool) => once(pool, 'node')));
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  // A client that is slow to answer the close frame.
  const { socket, connection } = connectInMemory('1', 'x', new MemorySocket(false));
  await a.newConnection(connection);
  const closed = gracefulShutdown({ server, pool: a }).shutdown();
  await expect.poll(() => socket.closes).toHaveLength(1);
  expect(a.cluster.state).toBe('up');
  expect(await b.cluster.count('x')).toEqual({ total: 0, answered: 2, missing: [] });

  const left = once(b, 'node');
  socket.end(1012);
  await closed;
  expect(a.cluster.state).toBe('alone');
  expect((await left) as unknown[]).toMatchObject([{ id: a.cluster.nodeId }, 'left']);
});
