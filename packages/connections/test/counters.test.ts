import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { MemorySocket } from './support/memory-socket.js';

useFakeClock();

async function join(pool: ConnectionsPool, id: string, namespace = 'default', socket = new MemorySocket()) {
  const connection = new Connection(id, namespace, socket);
  await pool.newConnection(connection);
  return { connection, socket };
}

test('all stats of a new pool are 0', () => {
  const stats = new ConnectionsPool().stats();
  expect(Object.values(stats).every((value) => value === 0)).toBe(true);
  expect(Object.keys(stats)).toEqual(expect.arrayContaining(['connections', 'namespaces', 'messagesSent']));
});

test('stats() returns a snapshot', async () => {
  const pool = new ConnectionsPool();
  const before = pool.stats();
  await join(pool, '1');
  expect(before.connections).toBe(0);
  expect(pool.stats().connections).toBe(1);
});

test('a termination counts once, however often it is asked for', async () => {
  const pool = new ConnectionsPool();
  class Lingering extends MemorySocket {
    override terminate(): void {
      setImmediate(() => super.terminate());
    }
  }
  const { connection } = await join(pool, '1', 'default', new Lingering());
  connection.terminate();
  connection.terminate();
  const closed = connection.close();
  await vi.advanceTimersByTimeAsync(1);
  await closed;
  connection.terminate();
  expect(pool.stats().terminated).toBe(1);
});

test('stats count refusals, slow readers, drops and idle limits', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop', idleTimeout: 100 });
  const { connection, socket } = await join(pool, '1');
  await join(pool, '2');
  socket.bufferedAmount = 90;
  const broadcast = pool.broadcastMessage('default', 'x'.repeat(50));
  await vi.advanceTimersByTimeAsync(1);
  expect(await broadcast).toMatchObject({ sent: 1, dropped: 1 });
  expect(await connection.send('x'.repeat(50))).toBe(false);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, dropped: 2, messagesSent: 1 });
  await vi.advanceTimersByTimeAsync(400);
  expect(pool.stats()).toMatchObject({ connections: 0, idleTimeouts: 2, terminated: 0 });
  await pool.drainConnections();
  await join(pool, 'late');
  expect(pool.stats()).toMatchObject({ refused: 1, drains: 1 });
});

test('messages received count once, with the bytes of their payloads', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = await join(pool, '1');
  connection.on('message', () => undefined);
  socket.emit('message', Buffer.from('four'), false);
  socket.emit('message', Buffer.from('é'), false);
  socket.emit('message', Buffer.alloc(1_000), true);
  connection.handleMessage('éé');
  connection.handleMessage(new Uint8Array(10).buffer, true);
  const expected = { messagesReceived: 5, bytesReceived: 4 + 2 + 1_000 + 4 + 10, messagesIgnored: 0 };
  expect(pool.stats()).toMatchObject(expected);
});

test('messages that arrive after closing has begun count as ignored', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = await join(pool, '1', 'default', new MemorySocket(false));
  const heard: unknown[] = [];
  connection.on('message', (message) => heard.push(message));
  socket.emit('message', Buffer.from('before'), false);
  void connection.close(4003, 'Kicked');
  socket.emit('message', Buffer.from('after'), false);
  socket.emit('message', Buffer.from('after'), false);
  expect(heard).toEqual(['before']);
  expect(pool.stats()).toMatchObject({ messagesReceived: 1, messagesIgnored: 2 });
});

test('messages that nobody listens for count as ignored once they are given up', async () => {
  const pool = new ConnectionsPool({ closeTimeout: 1_000 });
  const { socket } = await join(pool, '1');
  for (let n = 0; n < 3; n++) socket.emit('message', Buffer.from('early'), false);
  expect(pool.stats()).toMatchObject({ messagesReceived: 0, messagesIgnored: 0 });
  await vi.advanceTimersByTimeAsync(1_300);
  expect(pool.stats()).toMatchObject({ messagesReceived: 0, messagesIgnored: 3 });
});

test('slowNow is the number of connections that are slow readers at this moment', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const members = [await join(pool, '1'), await join(pool, '2')];
  for (const { socket } of members) socket.bufferedAmount = 100;
  for (const { connection } of members) expect(await connection.send('refused')).toBe(false);
  expect(pool.stats()).toMatchObject({ slowNow: 2, slowReaders: 2 });
  for (const { socket } of members) socket.bufferedAmount = 0;
  members[0]!.connection.handleDrain();
  expect(pool.stats()).toMatchObject({ slowNow: 1, slowReaders: 2 });
  members[1]!.socket.end();
  expect(pool.stats()).toMatchObject({ slowNow: 0, slowReaders: 2 });
});

test('slowNow follows a slow reader from one pool to another', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const { connection, socket } = await join(pool, '1');
  socket.bufferedAmount = 100;
  await connection.send('refused');
  expect(pool.stats().slowNow).toBe(1);
  await pool.removeConnection(connection);
  expect(pool.stats().slowNow).toBe(0);

  // The count goes with the connection, and its episode still ends with a `drain`.
  const other = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  await other.newConnection(connection);
  expect(other.stats()).toMatchObject({ slowNow: 1, slowReaders: 0 });
  const onDrain = vi.fn();
  connection.on('drain', onDrain);
  socket.bufferedAmount = 0;
  connection.handleDrain();
  expect(onDrain).toHaveBeenCalledTimes(1);
  expect(other.stats().slowNow).toBe(0);
  expect(pool.stats().slowNow).toBe(0);
});

test('closing is the number of members whose closing has begun', async () => {
  const pool = new ConnectionsPool({ closeTimeout: 1_000 });
  const members = [];
  for (const id of ['1', '2', '3']) members.push(await join(pool, id, 'default', new MemorySocket(false)));
  expect(pool.stats().closing).toBe(0);
  for (const { connection } of members) void connection.close();
  void members[0]!.connection.close();
  expect(pool.stats()).toMatchObject({ connections: 3, closing: 3 });
  members[0]!.socket.end();
  expect(pool.stats()).toMatchObject({ connections: 2, closing: 2 });
  await pool.removeConnection(members[1]!.connection);
  expect(pool.stats()).toMatchObject({ connections: 1, closing: 1 });
  await vi.advanceTimersByTimeAsync(1_300);
  expect(pool.stats()).toMatchObject({ connections: 0, closing: 0, terminated: 1 });
});

test('a closing member is not a recipient of broadcasts', async () => {
  // For up to ten seconds after a kick each broadcast had `failed: 1`, though nothing failed.
  const pool = new ConnectionsPool();
  const { connection } = await join(pool, 'kicked', 'default', new MemorySocket(false));
  await join(pool, 'other');
  void connection.close(4003, 'Kicked');
  const results = [pool.broadcastMessage('default', 'x'), pool.broadcastMessage('default', 'x', ['kicked'])];
  await vi.advanceTimersByTimeAsync(1);
  for (const result of results) {
    expect(await result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
  }
  expect(pool.namespace('default').size).toBe(2);
});
