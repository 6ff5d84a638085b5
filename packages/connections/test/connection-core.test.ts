import { describe, expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { useFakeClock } from './support/fake-clock.js';
import { connectInMemory } from './support/memory-socket.js';

describe('the deadline of a terminated socket', () => {
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
