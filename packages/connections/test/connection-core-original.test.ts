import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

useFakeClock();

const READY_STATE_CLOSED = 3;

/** Whether the promise has settled by now, without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const state = { isSettled: false };
  const settle = (): void => void (state.isSettled = true);
  promise.then(settle, settle);
  return state;
}

test('close resolves when the socket has closed, neither earlier nor later', async () => {
  // The original slept for 100 ms and resolved, whether the peer had answered within it, at once, or not at all.
  const silent = connectInMemory('1', 'default', new MemorySocket(false));
  const closing = watch(silent.connection.close());
  await vi.advanceTimersByTimeAsync(5_000);
  expect(closing.isSettled).toBe(false);
  silent.socket.end();
  await Promise.resolve();
  await Promise.resolve();
  expect(closing.isSettled).toBe(true);

  const prompt = connectInMemory('2');
  // The clock stands still: nothing that waits for a fixed time can resolve it.
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
  // Between the close frame and its answer the original still sent, which `ws` answers with an error.
  const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
  const closing = connection.close(4000);
  await expect(connection.send('too late')).resolves.toBe(false);
  expect(socket.sent).toEqual([]);
  socket.end();
  await closing;
});

test('an error that ends a connection closes it once', async () => {
  // In the original `sendErrorThenClose` closed through `sendError` and then by itself; the second close came
  // with other arguments, and to handlers that close something else it came twice.
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
