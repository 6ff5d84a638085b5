import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { slowClock } from '../support/slow-clock.js';

// With a namespace per user, each of some thousand broadcasts was written in the same turn: the clock was looked at only
// within a namespace, and the event loop stood still for 50 ms whatever `maxFlushMs` said.
test('maxFlushMs holds for broadcasts to many namespaces of one member each', async () => {
  const clock = slowClock();
  const pool = new ConnectionsPool({ maxFlushMs: 5 });
  let writes = 0;
  for (let i = 0; i < 30; i++) {
    const socket = new MemorySocket();
    socket.send = () => {
      writes++;
      clock.pass(2);
    };
    await pool.newConnection(connectInMemory('1', `n${i}`, socket).connection);
  }
  const results = Array.from({ length: 30 }, (_, i) => pool.broadcastMessage(`n${i}`, 'x'));
  // Three writes exceed five milliseconds.
  const perTurn: number[] = [];
  while (writes < 30) {
    const before = writes;
    await nextTurn();
    perTurn.push(writes - before);
  }
  expect(perTurn).toEqual(Array.from({ length: 10 }, () => 3));
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 1, sent: 1 });
});
