import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { useFakeClock } from './support/fake-clock.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watch } from './support/settled.js';

useFakeClock();

test('a terminated socket that does not report its close is given up after one second, and not before', async () => {
  const { connection, socket } = connectInMemory();
  socket.terminate = () => undefined;
  const closes = closesOf(connection);
  connection.terminate();
  const closed = connection.close();
  await vi.advanceTimersByTimeAsync(999);
  expect(closes).toEqual([]);
  await vi.advanceTimersByTimeAsync(201);
  expect(closes).toEqual([[1006, '']]);
  await closed;
});

/** What may wait for a connection by default, in bytes. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

test('a connection in no pool is closed with 1013 when more than 16 MiB would wait for it', async () => {
  const { connection, socket } = connectInMemory();
  socket.bufferedAmount = MAX_BUFFERED_BYTES - 100;
  expect(await connection.send('fits')).toBe(true);
  socket.bufferedAmount = MAX_BUFFERED_BYTES;
  expect(await connection.send('one too many')).toBe(false);
  expect(connection.closed).toBe(true);
  expect(socket.sent).toEqual(['fits']);
  expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
});

test('a closed connection sends nothing, closes again without effect and joins no pool', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  await connection.close(4000);
  await expect(connection.send('x')).resolves.toBe(false);
  await expect(connection.sendThenClose('x', 4001)).resolves.toBe(false);
  await connection.close(4001);
  connection.terminate();
  connection.updateTimeout();
  connection.handleMessage('late');
  connection.handleClose(4002);
  expect(socket.closes).toEqual([{ code: 4000, reason: '' }]);
  expect(socket.sent).toEqual([]);

  await pool.newConnection(connection);
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
});

const READY_STATE_CLOSED = 3;

test('close resolves when the socket has closed, neither earlier nor later', async () => {
  // The original slept for 100 ms and resolved, whether the peer had answered by then or not.
  const silent = connectInMemory('1', 'default', new MemorySocket(false));
  const closing = watch(silent.connection.close());
  await vi.advanceTimersByTimeAsync(5_000);
  expect(closing.isSettled).toBe(false);
  silent.socket.end();
  await Promise.resolve();
  await Promise.resolve();
  expect(closing.isSettled).toBe(true);

  const prompt = connectInMemory('2');
  // The clock is stopped, so no timer can resolve the promise.
  await prompt.connection.close();
  expect(prompt.socket.readyState).toBe(READY_STATE_CLOSED);
});

test('a send to a closed connection neither reaches the socket nor restarts a timer', async () => {
  // The original passed such a message on and restarted the idle timer. Each send to a client that was long gone
  // kept its connection in memory for two more minutes, and then closed it a second time.
  const pool = new ConnectionsPool({ idleTimeout: 60_000 });
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  expect(vi.getTimerCount()).toBe(1);
  await connection.close();

  await expect(connection.send('too late')).resolves.toBe(false);
  await expect(connection.sendJson({ too: 'late' })).resolves.toBe(false);
  await expect(connection.sendError('too late')).resolves.toBe(false);
  connection.updateTimeout();
  expect(socket.sent).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test('a message to a connection that is closing is refused as well', async () => {
  // Between the close frame and its answer the original still sent, which is an error for `ws`.
  const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
  const closing = connection.close(4000);
  await expect(connection.send('too late')).resolves.toBe(false);
  expect(socket.sent).toEqual([]);
  socket.end();
  await closing;
});

test('an error that ends a connection closes it once', async () => {
  // In the original `sendErrorThenClose` closed in `sendError` and then again: the second close had other arguments,
  // and handlers that close something else were called twice.
  const calls: unknown[][] = [];
  class Counting extends Connection<string, string, MemorySocket> {
    override async close(code?: number, reason?: string): Promise<void> {
      calls.push([code, reason]);
      await super.close(code, reason);
    }
  }
  const fatal = [
    (connection: Counting) => connection.sendErrorThenClose('bye', 4001, 'Fatal'),
    (connection: Counting) => connection.sendError('bye', 4001, 'Fatal'),
  ];
  for (const end of fatal) {
    calls.length = 0;
    const socket = new MemorySocket();
    await expect(end(new Counting('1', 'default', socket))).resolves.toBe(true);
    expect(calls).toEqual([[4001, 'Fatal']]);
    expect(socket.closes).toEqual([{ code: 4001, reason: 'Fatal' }]);
    expect(socket.sent).toEqual(['bye']);
  }
});
