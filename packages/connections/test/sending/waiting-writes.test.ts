import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { WaitingWrites } from '../../src/sending/waiting-writes.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';

test('writes in the queue wait', () => {
  const waiting = new WaitingWrites();
  expect([0, 1, 2, 2, 5].map((queued) => waiting.count(queued))).toEqual([0, 1, 2, 2, 5]);
});

test('writes that the system has taken from the queue all at once still wait, besides those that come after them', () => {
  const waiting = new WaitingWrites();
  expect([5, 0, 0, 3, 3, 1].map((queued) => waiting.count(queued))).toEqual([5, 5, 5, 8, 8, 4]);
});

// A reader caught up with thousands of small messages. When something waited in its socket again, all of them were
// counted once more: with less than a kilobyte to read it was a slow reader.
test('writes that have left no longer count when something waits again', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100_000, onSlow: 'drop' });
  const socket = new FakeWsSocket();
  const tcp = Object.assign(socket._socket, { _writableState: { bufferedRequestCount: 0 } });
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  const wait = (bytes: number, queued: number): void => {
    tcp.writableLength = bytes;
    tcp._writableState.bufferedRequestCount = queued;
  };
  // 300 objects of a write count 96,000 bytes.
  wait(3_000, 300);
  expect(await connection.send('x'.repeat(2_000))).toBe(false);
  expect(await connection.send('x')).toBe(true);
  wait(3_000, 0);
  expect(await connection.send('x'.repeat(2_000))).toBe(false);
  wait(0, 0);
  expect(await connection.send('x')).toBe(true);
  wait(800, 0);
  expect(await connection.send('x'.repeat(90_000))).toBe(true);
});
