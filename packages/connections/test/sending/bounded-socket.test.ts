import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { MemorySocket } from '../support/memory-socket.js';
import { watchUnhandled } from '../support/unhandled.js';

class BrokenGetter extends MemorySocket {
  isBroken = false;

  constructor() {
    super();
    Object.defineProperty(this, 'bufferedAmount', {
      get: () => {
        if (this.isBroken) throw new Error('no bufferedAmount');
        return 0;
      },
    });
  }
}

// A `bufferedAmount` that throws, as that of a detached socket may, made `send` reject while a broadcast was pending:
// an unhandled rejection.
test('a bufferedAmount that throws is an error event, and send() does not reject', async () => {
  const unhandled = watchUnhandled();
  const pool = new ConnectionsPool();
  const socket = new BrokenGetter();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  const errors: string[] = [];
  pool.on('error', ({ message }) => errors.push(message));
  socket.isBroken = true;
  const broadcast = pool.broadcastMessage('default', 'pending');
  const outcomes = [connection.send('behind it'), broadcast, connection.send('third')];
  const settled = await Promise.allSettled(outcomes);
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
  const { recipients, sent, dropped, failed } = await broadcast;
  expect(sent + dropped + failed).toBe(recipients);
  expect(errors.length).toBeGreaterThan(0);
  expect(new Set(errors)).toEqual(new Set(['no bufferedAmount']));
  expect(await unhandled.settle()).toEqual([]);
});
