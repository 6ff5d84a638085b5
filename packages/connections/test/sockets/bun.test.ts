import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { BunSocket } from '../support/callback-sockets.js';
import { record } from '../support/record.js';

describe('a socket of Bun', () => {
  function wrap() {
    const socket = new BunSocket();
    const connection = new Connection<string, string | Uint8Array, BunSocket>('1', 'default', socket);
    socket.onClose = (code, reason) => connection.handleClose(code, reason);
    return { socket, connection, events: record(connection) };
  }

  test('a socket of Bun has a readyState, and its owner forwards its events', () => {
    expect(wrap().connection.capabilities).toEqual({
      events: 'owner',
      terminate: true,
      ping: true,
      bufferedAmount: false,
      readyState: true,
      cork: true,
      pause: false,
    });
  });

  test('handleMessage() of Bun takes text as a string and bytes as a Buffer, without isBinary', () => {
    const { connection, events } = wrap();
    connection.handleMessage('text');
    connection.handleMessage(Buffer.from('bytes'));
    expect(events).toEqual([
      ['message', 'text', false],
      ['message', Buffer.from('bytes'), true],
    ]);
  });

  test('close() of a Bun socket resolves with the close callback of the server', async () => {
    const { socket, connection, events } = wrap();
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send('')).toBe(true);
    expect(await connection.send(Buffer.from('bytes'))).toBe(true);
    await connection.close(4000, 'bye');
    expect(socket.sent.map(({ isBinary }) => isBinary)).toEqual([false, false, true]);
    expect(socket.closes).toEqual([{ code: 4000, reason: 'bye' }]);
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('Bun gets the broadcasts of a turn in one cork', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array, typeof connection>();
    await pool.newConnection(connection);
    await Promise.all([1, 2, 3].map((n) => pool.broadcastMessage('default', `message ${n}`)));
    expect(socket.sent.map(({ message }) => message)).toEqual(['message 1', 'message 2', 'message 3']);
    expect(socket.corks).toBe(1);
    expect(socket.sentCorked).toBe(3);
  });

  test('terminate() ends a Bun socket with 1006', () => {
    const { socket, connection, events } = wrap();
    connection.terminate();
    expect(socket.readyState).toBe(3);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('terminate() frees our side at once, also if the owner of a Bun socket does not report the end', () => {
    const { socket, connection, events } = wrap();
    socket.onClose = undefined;
    connection.terminate();
    expect(socket.readyState).toBe(3);
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('closed is true as soon as the readyState of a Bun socket says so', () => {
    const { socket, connection } = wrap();
    socket.readyState = 2;
    expect(connection.closed).toBe(true);
  });

  // Bun 1.4 has a method for its buffered amount, but not the `end` by which uWebSockets.js is recognized: slow readers
  // of Bun.serve were never noticed.
  test('getBufferedAmount() of a Bun socket is its bufferedAmount', () => {
    const socket = Object.assign(new BunSocket(), { getBufferedAmount: () => 1_000 });
    const connection = new Connection<string, string, BunSocket>('1', 'default', socket);
    expect(connection.capabilities).toMatchObject({ terminate: true, bufferedAmount: true });
    expect(connection.bufferedAmount).toBe(1_000);
  });

  // Above its backpressureLimit Bun sends nothing and returns 0, which was mistaken for success.
  test('a message that Bun drops was not sent, although an empty one has the same return value', async () => {
    const { socket, connection } = wrap();
    socket.answer = 0;
    expect(await connection.send('text')).toBe(false);
    expect(await connection.send(Buffer.from('bytes'))).toBe(false);
    socket.answer = undefined;
    expect(await connection.send('')).toBe(true);
    expect(await connection.send(Buffer.alloc(0))).toBe(true);
    expect(socket.sent.map(({ isBinary }) => isBinary)).toEqual([false, true]);
  });
});
