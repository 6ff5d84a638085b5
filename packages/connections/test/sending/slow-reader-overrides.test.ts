import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { MemorySocket } from '../support/memory-socket.js';

// A subclass whose `close` saves the score first was closed once for each message that a slow reader could not take:
// 50 broadcasts saved the score 50 times.
test('an overridden close of a slow reader is called once per episode', async () => {
  class Player extends Connection<string, WebSocketMessage, MemorySocket> {
    readonly saves: unknown[][] = [];

    override async close(code?: number, reason?: string): Promise<void> {
      this.saves.push([code, reason]);
      await nextTurn();
    }
  }
  const pool = new ConnectionsPool<WebSocketMessage, Player>({ maxBufferedBytes: 100 });
  const socket = new MemorySocket();
  const player = new Player('1', 'default', socket);
  await pool.newConnection(player);
  socket.bufferedAmount = 1_000;
  for (let i = 0; i < 50; i++) void pool.broadcastMessage('default', `broadcast ${i}`);
  for (let i = 0; i < 5; i++) expect(await player.send(`private ${i}`)).toBe(false);
  expect(player.saves).toEqual([[1013, 'Slow reader']]);

  // It has closed nothing, has room again and becomes slow again: a new episode.
  socket.bufferedAmount = 0;
  player.handleDrain();
  expect(await player.send('taken')).toBe(true);
  socket.bufferedAmount = 1_000;
  for (let i = 0; i < 3; i++) await player.send('refused');
  expect(player.saves).toHaveLength(2);
});

// A slow reader that was removed counted as `slowNow` for ever.
test('a slow reader that leaves its pool counts there no more, and still gets its drain event', async () => {
  const [pool, next] = [
    new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' }),
    new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' }),
  ];
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  socket.bufferedAmount = 1_000;
  expect(await connection.send('x')).toBe(false);
  await pool.removeConnection(connection);
  expect(pool.stats().slowNow).toBe(0);
  await next.newConnection(connection);
  expect(next.stats()).toMatchObject({ slowNow: 1, slowReaders: 0 });
  const drained = once(connection, 'drain');
  socket.bufferedAmount = 0;
  await drained;
  expect([pool.stats().slowNow, next.stats().slowNow]).toEqual([0, 0]);
});
