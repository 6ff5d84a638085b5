import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { MemorySocket } from '../support/memory-socket.js';

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
