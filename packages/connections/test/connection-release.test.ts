import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { coreOf } from '../src/connection.js';
import { expectConsistent } from './support/consistent.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { record } from './support/record.js';
import { watchUnhandled } from './support/unhandled.js';

/** What a pool says about its members, in order. */
function eventsOf(pool: ConnectionsPool): unknown[][] {
  const events: unknown[][] = [];
  pool.on('connection', ({ id }) => events.push(['connection', id]));
  pool.on('disconnection', ({ id }, code, reason) => events.push(['disconnection', id, code, reason]));
  pool.on('emptyNamespace', (namespace) => events.push(['emptyNamespace', namespace]));
  pool.on('error', ({ message }) => events.push(['error', message]));
  return events;
}

// One connection per room over the same socket works, but leaving a room did not remove its listeners from the socket:
// after 1,000 joins and leaves it had 1,000 message listeners, and the handlers of the left rooms still ran.
test('a hundred connections that are made and released leave no listener on their socket', async () => {
  const socket = new MemorySocket();
  const pool = new ConnectionsPool();
  let calls = 0;
  for (let i = 0; i < 100; i++) {
    const connection = new Connection('a', `room${i}`, socket);
    connection.on('message', () => calls++);
    await pool.newConnection(connection);
    connection.release();
  }
  socket.emit('message', Buffer.from('hi'), false);
  expect(calls).toBe(0);
  expect(socket.eventNames()).toEqual([]);
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
});

describe('release()', () => {
  test('a released connection leaves its pool without a code and emits no close', async () => {
    const pool = new ConnectionsPool();
    const told = eventsOf(pool);
    const { connection, socket } = connectInMemory();
    const events = record(connection);
    await pool.newConnection(connection);
    connection.release();
    expect(told).toEqual([
      ['connection', '1'],
      ['disconnection', '1', undefined, ''],
      ['emptyNamespace', 'default'],
    ]);
    expect(connection.closed).toBe(true);
    expect([socket.readyState, socket.closes]).toEqual([1, []]);
    socket.end(4000);
    await nextTurn();
    expect(events).toEqual([]);
    expect(told).toHaveLength(3);
    await expectConsistent(pool, 0);
  });

  test('release() hands over what is pending, in order, before it returns', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    const broadcast = pool.broadcastMessage('default', 'a');
    const sent = connection.send('b');
    const last = pool.broadcastMessage('default', 'c');
    connection.release();
    expect(socket.sent).toEqual(['a', 'b', 'c']);
    expect(await Promise.all([broadcast, sent, last])).toEqual([
      { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 },
      true,
      { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 },
    ]);
  });

  test('a message that a handler has not answered when its connection is released has failed', async () => {
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', new MemorySocket(), {
      send: () => new Promise(() => undefined),
      close: () => undefined,
    });
    await pool.newConnection(connection);
    const sent = connection.send('a');
    const broadcast = pool.broadcastMessage('default', 'b');
    connection.release();
    expect(await sent).toBe(false);
    expect(await broadcast).toEqual({ recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 });
  });

  test('a released connection sends nothing, is not a recipient, and its methods do nothing', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    connection.release();
    expect(await connection.send('x')).toBe(false);
    expect(await connection.sendThenClose('x')).toBe(false);
    expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 0 });
    expect(await pool.send('default', '1', 'x')).toBe(false);
    await connection.close(4000);
    connection.terminate();
    connection.updateTimeout();
    connection.handleMessage('x');
    connection.handleClose(4000);
    connection.handleDrain();
    expect([socket.sent, socket.closes, socket.readyState]).toEqual([[], [], 1]);
    expect(coreOf(connection).dueSlot).toBe(0);
  });

  test('a released connection is refused by a pool with ERR_CONNECTION_CLOSED', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    const codes: string[] = [];
    pool.on('refused', (_, { code }) => codes.push(code));
    connection.release();
    await pool.newConnection(connection);
    expect(codes).toEqual(['ERR_CONNECTION_CLOSED']);
    expect(socket.closes).toEqual([]);
  });

  test('a second release(), or one after a close, changes nothing', async () => {
    const pool = new ConnectionsPool();
    const told = eventsOf(pool);
    const [twice, closed] = [connectInMemory('twice'), connectInMemory('closed')];
    await pool.newConnection(twice.connection);
    await pool.newConnection(closed.connection);
    twice.connection.release();
    twice.connection.release();
    await closed.connection.close(4000);
    closed.connection.release();
    expect(told.filter(([event]) => event === 'disconnection')).toEqual([
      ['disconnection', 'twice', undefined, ''],
      ['disconnection', 'closed', 4000, ''],
    ]);
    expect(pool.stats()).toMatchObject({ connections: 0, closing: 0, slowNow: 0 });
  });

  test('release() while a close waits for its answer resolves the close, and nothing is terminated later', async () => {
    const pool = new ConnectionsPool({ closeTimeout: 100 });
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    const events = record(connection);
    const closed = connection.close(4000);
    expect(pool.stats().closing).toBe(1);
    connection.release();
    await closed;
    expect(events).toEqual([]);
    expect(pool.stats()).toMatchObject({ connections: 0, closing: 0, terminated: 0 });
    expect([socket.readyState, coreOf(connection).dueSlot]).toEqual([2, 0]);
  });

  test('a released socket can be wrapped again, under the same id and in the same pool', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    connection.release();
    const again = new Connection('1', 'default', socket);
    await pool.newConnection(again);
    const events = record(again);
    await pool.broadcastMessage('default', 'x');
    socket.emit('message', Buffer.from('y'), false);
    socket.end(4000, 'bye');
    expect(socket.sent).toEqual(['x']);
    expect(events).toEqual([
      ['message', 'y', false],
      ['close', 4000, 'bye'],
    ]);
  });

  test('a slow reader that is released ends its episode without a drain event', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    const events = record(connection);
    socket.bufferedAmount = 1_000;
    expect(await connection.send('x')).toBe(false);
    expect(pool.stats().slowNow).toBe(1);
    connection.release();
    socket.bufferedAmount = 0;
    await nextTurn();
    expect(pool.stats()).toMatchObject({ slowNow: 0, slowReaders: 1 });
    expect(events).toEqual([]);
  });

  test('removeConnection() after release() still calls onEmptyNamespace, once', async () => {
    const pool = new ConnectionsPool();
    const { connection } = connectInMemory();
    await pool.newConnection(connection);
    connection.release();
    let calls = 0;
    for (let i = 0; i < 2; i++) await pool.removeConnection(connection, () => calls++);
    expect(calls).toBe(1);
  });

  test('a handler that releases its own connection during a flush gets all pending messages, and so do the others', async () => {
    const unhandled = watchUnhandled();
    const pool = new ConnectionsPool();
    const sent: unknown[] = [];
    const releasing: Connection = new Connection('1', 'default', new MemorySocket(), {
      send: (message: unknown) => {
        sent.push(message);
        if (message === 'a') releasing.release();
      },
      close: () => undefined,
    });
    const other = connectInMemory('2');
    await pool.newConnection(releasing);
    await pool.newConnection(other.connection);
    const results = await Promise.all(['a', 'b'].map((text) => pool.broadcastMessage('default', text)));
    for (const { recipients, sent, dropped, failed } of results)
      expect([recipients, sent + dropped + failed]).toEqual([2, 2]);
    expect(other.socket.sent).toEqual(['a', 'b']);
    expect(sent[0]).toBe('a');
    expect(releasing.closed).toBe(true);
    expect(await unhandled.settle()).toEqual([]);
    await expectConsistent(pool, 1);
  });

  test('a connection that is released by the handler of another one during a flush gets all pending messages', async () => {
    const pool = new ConnectionsPool();
    const other = connectInMemory('2');
    const releasing = new Connection('1', 'default', new MemorySocket(), {
      send: () => other.connection.release(),
      close: () => undefined,
    });
    await pool.newConnection(releasing);
    await pool.newConnection(other.connection);
    const results = await Promise.all(['a', 'b'].map((text) => pool.broadcastMessage('default', text)));
    for (const result of results)
      expect(result).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0, conflated: 0 });
    expect(other.socket.sent).toEqual(['a', 'b']);
    await expectConsistent(pool, 1);
  });

  test('a message listener may release its connection, and gets no further message', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    const messages: unknown[] = [];
    connection.on('message', (message) => {
      messages.push(message);
      connection.release();
    });
    socket.emit('message', Buffer.from('a'), false);
    socket.emit('message', Buffer.from('b'), false);
    expect(messages).toEqual(['a']);
    expect(socket.eventNames()).toEqual([]);
  });

  test('a connection that is released while the pool drains is done for the drain', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    const drained = pool.drainConnections(10);
    await nextTurn();
    connection.release();
    expect(await drained).toMatchObject({ left: 0, terminated: 0 });
    expect(socket.readyState).not.toBe(3);
  });
});
