import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { endTurn, member } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { MORE_THAN_KERNEL, stalledMember, waitingIn } from '../support/stall.js';
import { WireClient } from '../support/wire.js';

// A slab of Node's pool would stay in memory as long as the smallest message in it.
test('a message that waits for a stalled reader keeps no more memory than its own bytes', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 2 * MORE_THAN_KERNEL });
  const { socket, connection } = await stalledMember(pool, await Loopback.start(), '1');
  void connection.send('private');
  await nextTurn();
  expect(waitingIn(socket).at(-1)?.buffer.byteLength).toBe(9);
});

test('stalled readers share one buffer even if only a part of a turn still fits', async () => {
  const maxBufferedBytes = MORE_THAN_KERNEL + 10_000;
  const pool = new ConnectionsPool({ maxBufferedBytes, onSlow: 'drop' });
  const loopback = await Loopback.start();
  const readers = [await stalledMember(pool, loopback, '1'), await stalledMember(pool, loopback, '2')];
  const buffered = readers.map(({ socket }) => socket.bufferedAmount);
  const fits = 'x'.repeat(maxBufferedBytes - Math.max(...buffered) - 1_000);
  const results = [
    pool.broadcastMessage('default', fits),
    pool.broadcastMessage('default', 'y'.repeat(2_000)),
  ];
  expect((await Promise.all(results)).map(({ sent }) => sent)).toEqual([2, 0]);
  const [one, other] = readers.map(({ socket }) => waitingIn(socket).at(-1)?.buffer);
  expect(one?.byteLength).toBeGreaterThan(0);
  expect(other).toBe(one);
});

test('a hundred stalled readers keep one buffer between them', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 2 * MORE_THAN_KERNEL });
  const loopback = await Loopback.start();
  const sockets: WebSocket[] = [];
  const filler = 'x'.repeat(MORE_THAN_KERNEL);
  for (let i = 0; i < 100; i++) {
    const { client, socket } = await WireClient.connect(loopback);
    client.pause();
    await pool.newConnection(new Connection(String(i), 'default', socket));
    sockets.push(socket);
  }
  await pool.broadcastMessage('default', filler);
  for (const text of ['1', '2']) void pool.broadcastMessage('default', text);
  await endTurn();
  const waiting = sockets.map((socket) => waitingIn(socket).at(-1)?.buffer);
  expect(waiting[0]?.byteLength).toBe(6);
  expect(new Set(waiting).size).toBe(1);
});

// A stalled reader that was excepted from most of each turn kept the whole turn: for 88 KB of its messages, 389 MB
// stayed in memory.
test('a stalled reader that is excepted from most of a turn keeps only its own messages', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 2 * MORE_THAN_KERNEL });
  const loopback = await Loopback.start();
  await member(pool, loopback, 'a');
  const { socket } = await stalledMember(pool, loopback, 'b');
  const before = waitingIn(socket).length;
  for (let turn = 0; turn < 20; turn++) {
    for (let i = 0; i < 99; i++) void pool.broadcastMessage('default', 'x'.repeat(1_024), ['b']);
    void pool.broadcastMessage('default', 'for everybody'.padEnd(20));
    await endTurn();
  }
  const waiting = waitingIn(socket).slice(before);
  expect(waiting).toHaveLength(20);
  for (const { buffer, length } of waiting) expect([length, buffer.byteLength]).toEqual([22, 22]);
});

// Messages of one character took 2.4 GB before their bytes reached a bound of 16 MiB.
test('each waiting write counts 320 bytes in addition to its payload', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: MORE_THAN_KERNEL + 100_000, onSlow: 'drop' });
  const { socket, connection } = await stalledMember(pool, await Loopback.start(), 'a');
  const room = MORE_THAN_KERNEL + 100_000 - socket.bufferedAmount;
  let sent = 0;
  while (sent < 10_000 && (await connection.send('x'))) sent++;
  // Each is a frame of 3 bytes.
  expect(sent).toBeGreaterThan(room / 323 - 10);
  expect(sent).toBeLessThan(room / 323 + 10);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, dropped: 1 });
});
