import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { listen } from '../support/accepting.js';
import { connectInMemory } from '../support/memory-socket.js';

// The shutdown of the empty pool rejected, and upgrades were accepted again, but its pool refused everybody for ever.
test('an abort while other pools of the server are drained opens a pool again that is drained already', async () => {
  const server = createServer();
  await listen(server);
  const [empty, full] = [new ConnectionsPool(), new ConnectionsPool()];
  for (const id of ['1', '2']) await full.newConnection(connectInMemory(id).connection);
  const abort = new AbortController();
  const drain = { maxPerSecond: 1, signal: abort.signal };
  const shutdowns = [empty, full].map((pool) => gracefulShutdown({ server, pool, drain }));
  const drained = once(empty, 'drain');
  const outcomes = shutdowns.map((one) => one.shutdown().catch((error: unknown) => error));
  await drained;
  expect([empty.draining, full.draining]).toEqual([true, true]);

  abort.abort('stay');
  expect(await Promise.all(outcomes)).toEqual(['stay', 'stay']);
  expect([empty.draining, full.draining]).toEqual([false, false]);
  expect(shutdowns.map(({ isReady }) => isReady)).toEqual([true, true]);
  expect(server.listening).toBe(true);
  const { connection, socket } = connectInMemory();
  await empty.newConnection(connection);
  expect(socket.closes).toEqual([]);
  connection.terminate();
  full.getConnection('default', '2')!.terminate();
});
