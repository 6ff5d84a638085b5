import { expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { connectInMemory } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

test('the end of a turn is asked for once, however many namespaces and messages the turn has', async () => {
  const pool = new ConnectionsPool();
  for (let i = 0; i < 10; i++) await pool.newConnection(connectInMemory('1', `n${i}`).connection);
  const asked = vi.spyOn(globalThis, 'setImmediate');
  onTestFinished(() => asked.mockRestore());
  for (let i = 0; i < 100; i++) void pool.broadcastMessage(`n${i % 10}`, 'x');
  expect(asked).toHaveBeenCalledTimes(1);
  await endTurn();
  void pool.broadcastMessage('n0', 'y');
  expect(asked).toHaveBeenCalledTimes(2);
});
