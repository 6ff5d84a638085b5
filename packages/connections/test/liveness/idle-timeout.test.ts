import { describe, expect, test, vi } from 'vitest';
import { coreOf } from '../../src/connection.js';
import { ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

// First in the file: after other tests, sockets that still close may hold the timing wheel on the real clock.

// First in the file: the sockets of other tests may still hold the wheel, by the real clock, when they have ended.
describe('an idle limit without a pool', () => {
  useFakeClock();

  test('updateTimeout() outside of a pool starts a limit of 120 s', async () => {
    const { connection, socket } = connectInMemory();
    const looks = vi.spyOn(coreOf(connection), 'onDeadline');
    connection.updateTimeout();
    await vi.advanceTimersByTimeAsync(119_999);
    expect(socket.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(201);
    expect(socket.closes).toEqual([{ code: 4408, reason: 'Idle timeout' }]);
    // It was not looked at before that.
    expect(looks).toHaveBeenCalledTimes(1);
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

  test('idle limits create no timer at all while the wheel already turns', async () => {
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
