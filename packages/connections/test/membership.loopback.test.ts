import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';

test('a removed connection stays open, and may join again', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const { client, connection } = await loopback.connect('1');
  await pool.newConnection(connection);
  await pool.removeConnection(connection);
  await pool.broadcastMessage('default', 'missed');
  await pool.newConnection(connection);
  await pool.broadcastMessage('default', 'seen');
  expect(await client.exactly(1)).toEqual(['seen']);
  expect(pool.stats().connections).toBe(1);
});

test('the id of a connection that has left is free', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [holder, next] = [await loopback.connect('1'), await loopback.connect('1')];
  await pool.newConnection(holder.connection);
  await holder.connection.close();
  await pool.newConnection(next.connection);
  expect(pool.getConnection('default', '1')).toBe(next.connection);
});

test('a replacement leaves no instant in which the id or the namespace is missing', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const [old, next] = [await loopback.connect('1'), await loopback.connect('1')];
  await pool.newConnection(old.connection);
  const held: unknown[] = [];
  const look = (): void => void held.push(pool.getConnection('default', '1'));
  for (const event of ['connection', 'disconnection', 'emptyNamespace'] as const) pool.on(event, look);
  old.connection.on('close', look);
  old.socket.on('close', look);

  void pool.newConnection(next.connection);
  look();
  expect(await old.client.closed).toEqual({ code: 4409, reason: 'Replaced by a newer connection' });
  await nextTurn();
  expect(held.length).toBeGreaterThanOrEqual(4);
  expect(new Set(held)).toEqual(new Set([next.connection]));
  expect(pool.stats()).toMatchObject({ connections: 1, namespaces: 1 });
});

test('a replaced connection gets what was broadcast before, and its successor what comes after', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const [old, next] = [await loopback.connect('1'), await loopback.connect('1')];
  await pool.newConnection(old.connection);
  void pool.broadcastMessage('default', 'before');
  void pool.newConnection(next.connection);
  void pool.broadcastMessage('default', 'after');
  await old.client.closed;
  expect(old.client.inbox).toEqual(['before']);
  expect(await next.client.exactly(1)).toEqual(['after']);
});

test('a terminated connection that has not closed yet is neither a recipient nor an exception', async () => {
  // It had left the fan-out and was still subtracted as an exception: `recipients` was 0 where `sent` was 1.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [gone, other] = [await loopback.connect('gone'), await loopback.connect('other')];
  await pool.newConnection(gone.connection);
  await pool.newConnection(other.connection);
  gone.connection.terminate();
  await expect(pool.broadcastMessage('default', 'x', ['gone'])).resolves.toEqual({
    recipients: 1,
    sent: 1,
    dropped: 0,
    failed: 0,
    conflated: 0,
  });
  await gone.client.closed;
});

test('a duplicate id does not replace a live connection by default', async () => {
  // In the original the second connection overwrote the first in the map. The first stayed open and was unreachable.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [first, second] = [await loopback.connect('same'), await loopback.connect('same')];
  await pool.newConnection(first.connection);

  const refusal = once(pool, 'refused');
  await pool.newConnection(second.connection);
  expect((await refusal)[1]).toMatchObject({ name: 'ConnectionsError', code: 'ERR_DUPLICATE_CONNECTION' });
  expect(pool.getConnection('default', 'same')).toBe(first.connection);
  expect(second.connection.closed).toBe(true);
  await pool.send('default', 'same', 'for the first');
  expect(await first.client.exactly(1)).toEqual(['for the first']);
  expect(await second.client.closed).toEqual({ code: 1013, reason: 'Duplicate id' });
  expect(second.client.inbox).toEqual([]);
});

test('the late close of a replaced connection does not evict the one that took its place', async () => {
  // A phone changes networks and reconnects under its id; minutes later the old socket times out. The original removed
  // by id: the new connection vanished from the pool although it was open.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const onEmpty = vi.fn();
  const old = await loopback.connect('phone');
  await pool.newConnection(old.connection);
  const oldHasLeft = new Promise<void>((resolve) => {
    old.socket.on('close', () => void pool.removeConnection(old.connection, onEmpty).then(resolve));
  });
  old.client.socket.pause();

  const next = await loopback.connect('phone');
  await pool.newConnection(next.connection);
  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
  old.client.socket.resume();
  expect(await old.client.closed).toMatchObject({ code: 4409 });
  await oldHasLeft;

  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
  expect(onEmpty).not.toHaveBeenCalled();
  await expect(pool.send('default', 'phone', 'hello')).resolves.toBe(true);
  expect(await next.client.next()).toBe('hello');
});

test('the close of a connection that was removed by hand does not evict the next holder of its id', async () => {
  // The same eviction without a policy: the connection is removed, its id taken by another, and only then it closes.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [old, next] = [await loopback.connect('phone'), await loopback.connect('phone')];
  await pool.newConnection(old.connection);
  await pool.removeConnection(old.connection);
  await pool.newConnection(next.connection);
  await old.connection.close();
  await pool.removeConnection(old.connection);
  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
});
