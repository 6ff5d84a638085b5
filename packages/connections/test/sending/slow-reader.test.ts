import { describe, expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolInMemory } from '../support/pool-of.js';

const ALL_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const ALL_DROPPED = { recipients: 1, sent: 0, dropped: 1, failed: 0, conflated: 0 };

test('a message that just fits the bound is sent', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const { socket, connection } = connectInMemory();
  onTestFinished(() => connection.terminate());
  await pool.newConnection(connection);
  socket.bufferedAmount = 90;
  expect(await connection.send('x'.repeat(9))).toBe(false);
  expect(await connection.send('x'.repeat(8))).toBe(true);
  expect(await pool.broadcastMessage('default', 'x'.repeat(9))).toEqual(ALL_DROPPED);
  expect(await pool.broadcastMessage('default', 'x'.repeat(8))).toEqual(ALL_SENT);
});

test('what a turn still holds counts for the bound of a private message', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, { maxBufferedBytes: 1_000, onSlow: 'drop' });
  onTestFinished(() => connection.terminate());
  socket.send = (message) => {
    socket.sent.push(message);
    socket.bufferedAmount += (message as string).length;
  };
  const result = pool.broadcastMessage('default', 'x'.repeat(200));
  expect(await connection.send('y'.repeat(900))).toBe(false);
  // It was written before the private message was refused.
  expect(socket.sent).toEqual(['x'.repeat(200)]);
  expect(await connection.send('z'.repeat(700))).toBe(true);
  expect(await result).toEqual(ALL_SENT);
});

test('what the deciding function sends itself is dropped, and not decided about', async () => {
  let asked = 0;
  const pool: ConnectionsPool = new ConnectionsPool({
    maxBufferedBytes: 100,
    onSlow: (connection) => {
      asked++;
      void connection.send('y'.repeat(200));
      return 'send';
    },
  });
  const { socket, connection } = connectInMemory();
  await pool.newConnection(connection);
  expect(await connection.send('x'.repeat(200))).toBe(true);
  expect(await pool.broadcastMessage('default', 'z'.repeat(200))).toEqual(ALL_SENT);
  expect(asked).toBe(2);
  expect(socket.sent).toEqual(['x'.repeat(200), 'z'.repeat(200)]);
  expect(pool.stats().dropped).toBe(2);
});

describe('with a fake clock', () => {
  useFakeClock();

  test('an episode of a socket that does not tell ends when half of the bound is free again', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { socket, connection } = connectInMemory();
    await pool.newConnection(connection);
    const drained = vi.fn();
    connection.on('drain', drained);
    socket.bufferedAmount = 100;
    expect(await connection.send('x')).toBe(false);
    for (const [bufferedAmount, episodes] of [
      [51, 0],
      [50, 1],
      [0, 1],
    ] as const) {
      socket.bufferedAmount = bufferedAmount;
      await vi.advanceTimersByTimeAsync(100);
      expect(drained).toHaveBeenCalledTimes(episodes);
    }
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a socket that does not tell is looked at soon in each episode, and less and less often while it stays slow', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { socket, connection } = connectInMemory();
    await pool.newConnection(connection);
    for (let episode = 1; episode <= 2; episode++) {
      socket.bufferedAmount = 100;
      expect(await connection.send('x')).toBe(false);
      const waits: number[] = [];
      for (let look = 0; look < 6; look++) {
        const before = performance.now();
        vi.advanceTimersToNextTimer();
        waits.push(performance.now() - before);
      }
      expect(waits).toEqual([10, 20, 40, 80, 100, 100]);
      socket.bufferedAmount = 0;
      await vi.advanceTimersByTimeAsync(100);
      expect(vi.getTimerCount()).toBe(0);
    }
    expect(pool.stats()).toMatchObject({ slowReaders: 2, slowNow: 0 });
  });
});

// It stayed among those that are slow now, and nobody could ever be counted back.
test('a slow reader that is removed from its pool is no longer slow there', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, { maxBufferedBytes: 100, onSlow: 'drop' });
  socket.bufferedAmount = 100;
  expect(await connection.send('x')).toBe(false);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 1 });
  await pool.removeConnection(connection);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 0 });
});
