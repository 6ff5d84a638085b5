import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { holdDeflate } from '../support/held-deflate.js';

describe('broadcasts whose compression is overdue', () => {
  useFakeClock();

  // While the thread pool was busy, each slow client got a copy of its own of each message that went out uncompressed:
  // some megabytes of broadcasts became gigabytes.
  test('all members are written the same buffer when the compression is not done in time', async () => {
    holdDeflate();
    const pool = new ConnectionsPool();
    const sockets = Array.from({ length: 50 }, () => new FakeWsSocket(true));
    for (const [i, socket] of sockets.entries()) {
      // Each is a little behind.
      socket._socket.writableLength = 1_000;
      await pool.newConnection(new Connection(`${i}`, 'default', socket));
    }
    const results = Array.from({ length: 3 }, () => pool.broadcastMessage('default', 'x'.repeat(20_000)));
    await vi.advanceTimersByTimeAsync(40);
    expect(sockets[0]!._socket.chunks).toEqual([]);
    await vi.advanceTimersByTimeAsync(60);
    expect(await Promise.all(results)).toEqual(
      results.map(() => ({ recipients: 50, sent: 50, dropped: 0, failed: 0, conflated: 0 })),
    );
    const distinct = new Set(
      sockets.flatMap(({ _socket: { chunks } }) => chunks.map(({ buffer }) => buffer)),
    );
    const bytes = sockets[0]!._socket.bytes;
    expect(bytes.length).toBe(3 * 20_004);
    for (const { _socket: tcp } of sockets) expect(tcp.bytes.equals(bytes)).toBe(true);
    expect(distinct.size).toBe(sockets[0]!._socket.chunks.length);
  });
});
