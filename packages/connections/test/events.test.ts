import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type PoolEvents } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { slowMember } from './support/slow-member.js';

test('a connection emits drain when a slow reader has room again', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const { connection, socket } = slowMember(pool);
  const drained = once(connection, 'drain');
  await expect(connection.send('x')).resolves.toBe(false);
  socket.bufferedAmount = 0;
  await drained;
  await expect(connection.send('x')).resolves.toBe(true);
});

test('a pool emits slow once per episode of a slow reader', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const told: PoolEvents<Connection>['slow'][] = [];
  pool.on('slow', (...args) => told.push(args));
  const { connection, socket } = slowMember(pool);
  for (let n = 0; n < 3; n++) await pool.broadcastMessage('default', 'x');
  await connection.send('x');
  expect(told).toEqual([[connection, 1_000]]);

  const drained = once(connection, 'drain');
  socket.bufferedAmount = 0;
  await drained;
  socket.bufferedAmount = 2_000;
  await pool.broadcastMessage('default', 'x');
  expect(told).toEqual([
    [connection, 1_000],
    [connection, 2_000],
  ]);
});

test('a pool emits error for sockets, handlers and listeners, with the connection', async () => {
  const pool = new ConnectionsPool();
  const told: unknown[] = [];
  pool.on('error', ({ message }, connection) => told.push([message, connection?.id]));
  const { connection, socket } = connectInMemory('socket');
  const handled = new Connection('handler', 'default', new MemorySocket(), {
    send: () => {
      throw new Error('handler failed');
    },
    close: () => undefined,
  });
  await pool.newConnection(connection);
  await pool.newConnection(handled);
  socket.emit('error', new Error('socket failed'));
  await handled.send('x');
  connection.on('message', () => {
    throw new Error('listener failed');
  });
  socket.emit('message', Buffer.from('x'), false);
  await nextTurn();
  expect(told).toEqual([
    ['socket failed', 'socket'],
    ['handler failed', 'handler'],
    ['listener failed', 'socket'],
  ]);
  expect(pool.stats().errors).toBe(3);
});
