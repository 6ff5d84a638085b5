import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionEvents } from '../src/index.js';
import { expectConsistent } from './support/consistent.js';
import { expectContained, failures } from './support/failing-listeners.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { onTestFinished } from './support/on-test-finished.js';
import { watchUnhandled } from './support/unhandled.js';

/** By default it looks every 50 ms. */
const SOON = { timeout: 4_000, interval: 1 };

describe.each(failures)('a connection listener that %s', (how, fail) => {
  const connectionEvents: readonly [
    keyof ConnectionEvents,
    (socket: MemorySocket, c: Connection) => unknown,
  ][] = [
    ['message', (socket) => socket.emit('message', Buffer.from('x'), false)],
    ['pong', (socket) => socket.emit('pong')],
    [
      'drain',
      async (socket, connection) => {
        socket.bufferedAmount = 1_000;
        await connection.send('x');
        socket.bufferedAmount = 0;
        connection.handleDrain();
      },
    ],
  ];

  test.each(connectionEvents)(
    `a listener of %s that ${how} is an error event of its connection`,
    async (event, cause) => {
      await expectContained(async (pool) => {
        const { connection, socket } = connectInMemory();
        await pool.newConnection(connection);
        connection.on(event, fail);
        const told = vi.fn();
        connection.on('error', told);
        await cause(socket, connection);
        await vi.waitFor(() => expect(told).toHaveBeenCalledTimes(1), SOON);
      });
    },
  );

  test(`an error listener of a connection that ${how} is reported to the pool, and not to itself again`, async () => {
    // A listener that always failed used to get its own error, failed again, and so on endlessly: one broken logger
    // blocked the event loop for ever.
    await expectContained(async (pool, errors) => {
      const { connection, socket } = connectInMemory();
      await pool.newConnection(connection);
      let calls = 0;
      connection.on('error', () => {
        // Bounded, so that this test fails instead of hanging.
        if (++calls < 100) return fail() as undefined;
        return undefined;
      });
      socket.emit('error', new Error('socket failed'));
      await vi.waitFor(() => expect(errors).toEqual(['socket failed', 'listener failed']), SOON);
      await nextTurn();
      expect(calls).toBe(1);
    });
  });

  test(`an error listener of a connection in no pool that ${how} breaks nothing`, async () => {
    const { reasons, settle } = watchUnhandled();
    const uncaught = vi.fn();
    process.on('uncaughtException', uncaught);
    onTestFinished(() => void process.off('uncaughtException', uncaught));
    const { connection, socket } = connectInMemory();
    connection.on('error', fail);
    expect(() => socket.emit('error', new Error('socket failed'))).not.toThrow();
    await settle();
    expect(reasons).toEqual([]);
    expect(uncaught).not.toHaveBeenCalled();
    await expect(connection.send('x')).resolves.toBe(true);
  });
});

test('error listeners that fail themselves break nothing, and are counted', async () => {
  const pool = new ConnectionsPool();
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  const fail = (): never => {
    throw new Error('a listener failed');
  };
  pool.on('error', fail);
  connection.on('error', fail);
  connection.on('message', fail);
  await pool.newConnection(connection);
  socket.emit('error', new Error('the socket failed'));
  socket.emit('message', Buffer.from('x'), false);
  expect(pool.stats().errors).toBeGreaterThanOrEqual(4);
  await expectConsistent(pool, 1);
});

// All other events pass it by, and this one went through it.
test('an error event reaches its listeners although a subclass overrides emit()', () => {
  class Silent extends Connection {
    override emit(): boolean {
      return false;
    }
  }
  const socket = new MemorySocket();
  const told = vi.fn();
  new Silent('1', 'default', socket).on('error', told);
  const error = new Error('reset');
  socket.emit('error', error);
  expect(told).toHaveBeenCalledExactlyOnceWith(error);
});
