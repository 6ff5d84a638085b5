import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('a drain does not make up for a stall of the event loop', async () => {
  const pool = new ConnectionsPool();
  const closedAtMs: number[] = [];
  for (let id = 0; id < 45; id++) {
    const connection = new Connection(String(id), 'default', new MemorySocket());
    connection.on('close', () => closedAtMs.push(performance.now()));
    await pool.newConnection(connection);
  }
  const drained = pool.drainConnections({ maxPerSecond: 20 });
  await nextTurn();
  stall(1_500);
  expect(await drained).toMatchObject({ closed: 45 });
  const windows = closedAtMs.slice(20).map((atMs, index) => atMs - closedAtMs[index]!);
  expect(Math.min(...windows)).toBeGreaterThanOrEqual(1_000);
});

test('what has arrived during a stall of the event loop is read before the next slice of a drain', async () => {
  // A process that had been stopped closed a slice by what it knew: the word of another node, that it drains too, was
  // waiting in its socket.
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const controller = new AbortController();
  socket.on('data', () => controller.abort());
  const pool = new ConnectionsPool();
  const sockets = Array.from({ length: 5 }, () => new MemorySocket());
  for (const [id, one] of sockets.entries())
    await pool.newConnection(new Connection(String(id), 'default', one));
  const drained = pool.drainConnections({ maxPerSecond: 20, interval: 50, signal: controller.signal });
  await nextTurn();
  client.write('wait');
  stall(200);
  await expect(drained).rejects.toThrow();
  expect(sockets.filter(({ closes }) => closes.length > 0)).toHaveLength(1);
});
