import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { Loopback } from '../support/loopback.js';

function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('a stall of the event loop loses no broadcast', async () => {
  const pool = new ConnectionsPool();
  const bystander = await (await Loopback.start()).connect('1');
  await pool.newConnection(bystander.connection);
  const expected = Array.from({ length: 20 }, (_, index) => String(index));
  for (const message of expected) {
    void pool.broadcastMessage('default', message);
    if (Number(message) % 5 === 0) stall(50);
    if (Number(message) % 3 === 0) await nextTurn();
  }
  expect(await bystander.client.exactly(20)).toEqual(expected);
});
