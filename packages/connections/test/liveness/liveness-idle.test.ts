import { describe, expect, test, vi } from 'vitest';
import { coreOf } from '../../src/connection.js';
import { ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

describe('an idle limit', () => {
  useFakeClock();

  test('updateTimeout() outside of a pool starts a limit of 120 s', async () => {
    const { connection, socket } = connectInMemory();
    const looks = vi.spyOn(coreOf(connection), 'onDeadline');
    connection.updateTimeout();
    await vi.advanceTimersByTimeAsync(119_999);
    expect(socket.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(201);
    expect(socket.closes).toEqual([{ code: 4408, reason: 'Idle timeout' }]);
    // The limit was not checked before that.
    expect(looks).toHaveBeenCalledTimes(1);
  });

  test('receiving messages keeps a connection from being idle', async () => {
    // The original restarted the idle time only when the server sent: a chat user who only wrote was disconnected.
    const pool = new ConnectionsPool({ idleTimeout: 1_000 });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    for (let n = 0; n < 5; n++) {
      await vi.advanceTimersByTimeAsync(600);
      socket.emit('message', Buffer.from('still here'), false);
    }
    expect(socket.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(socket.closes).toMatchObject([{ code: 4408 }]);
  });

  test('sending messages does not keep a connection from being idle', async () => {
    // The original restarted the idle time when the server sent: a dead peer in a busy room was kept for ever.
    const pool = new ConnectionsPool({ idleTimeout: 1_000 });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    for (let n = 0; n < 3 && socket.closes.length === 0; n++) {
      await connection.send('are you there?');
      await vi.advanceTimersByTimeAsync(600);
    }
    expect(socket.closes).toMatchObject([{ code: 4408 }]);
  });

  test('a hundred connections with an idle limit and any number of messages share one timer', async () => {
    // The original cleared and made a timer for each message of each connection.
    const pool = new ConnectionsPool({ idleTimeout: 60_000 });
    const pairs = Array.from({ length: 100 }, (_, n) => connectInMemory(`${n}`));
    for (const { connection } of pairs) await pool.newConnection(connection);
    const timeouts = vi.spyOn(globalThis, 'setTimeout');
    const intervals = vi.spyOn(globalThis, 'setInterval');
    for (let n = 0; n < 10; n++) {
      for (const { connection, socket } of pairs) {
        socket.emit('message', Buffer.from('in'), false);
        await connection.send('out');
      }
    }
    expect(timeouts.mock.calls.length + intervals.mock.calls.length).toBe(0);
    expect(vi.getTimerCount()).toBe(1);
    vi.restoreAllMocks();

    await pool.closeAll('default');
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the cost of idle limits', () => {
  test('a connection without limits reads no clock when a message arrives', () => {
    const { connection } = connectInMemory();
    const clock = vi.spyOn(performance, 'now');
    onTestFinished(() => void vi.restoreAllMocks());
    connection.on('message', () => undefined);
    connection.handleMessage('in');
    connection.handlePong();
    expect(clock).not.toHaveBeenCalled();
  });

  test('idle limits create no timer while the wheel already turns', async () => {
    const pool = new ConnectionsPool({ idleTimeout: 60_000 });
    const { connection: first } = connectInMemory('first');
    await pool.newConnection(first);
    const timeouts = vi.spyOn(globalThis, 'setTimeout');
    const intervals = vi.spyOn(globalThis, 'setInterval');
    onTestFinished(() => void vi.restoreAllMocks());

    const members = Array.from({ length: 100 }, (_, id) => connectInMemory(String(id)).connection);
    for (const connection of members) void pool.newConnection(connection);
    for (const connection of members) {
      connection.handleMessage('in');
      connection.handlePong();
      void connection.send('out');
      connection.updateTimeout();
      connection.clearTimeout();
    }
    expect(timeouts).not.toHaveBeenCalled();
    expect(intervals).not.toHaveBeenCalled();
    await pool.closeAll('default');
  });
});

test.each([0, -1, NaN, 2 ** 31])('an idleTimeout of %s is a RangeError', (idleTimeout) => {
  expect(() => new ConnectionsPool({ idleTimeout })).toThrow(RangeError);
});
