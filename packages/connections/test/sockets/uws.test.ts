import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { UwsSocket } from '../support/callback-sockets.js';
import { record, type Received } from '../support/record.js';

describe('a socket of uWebSockets.js', () => {
  function wrap(id = '1') {
    const socket = new UwsSocket();
    const connection = new Connection<string, string | Uint8Array | ArrayBuffer, UwsSocket>(
      id,
      'default',
      socket,
    );
    socket.onClose = (code, message) => connection.handleClose(code, message);
    return { socket, connection, events: record(connection) };
  }

  test('a socket of uWebSockets.js has every capability but events, readyState and pause', () => {
    expect(wrap().connection.capabilities).toEqual({
      events: 'owner',
      terminate: true,
      ping: true,
      bufferedAmount: true,
      readyState: false,
      cork: true,
      pause: false,
    });
  });

  // uWebSockets.js takes the buffer of a message back when its callback returns: a listener that kept it then read
  // zeroes.
  test('a message of uWebSockets.js survives the callback that lent it', () => {
    const socket = new UwsSocket();
    const connection = new Connection<string, string, UwsSocket>('1', 'default', socket);
    const received: Received[] = [];
    connection.on('message', (...args) => received.push(args));

    socket.receive(connection, 'text', false);
    socket.receive(connection, 'bytes', true);

    expect(received).toEqual([
      ['text', false],
      [Buffer.from('bytes'), true],
    ]);
  });

  // Its send() sends everything as text unless told otherwise.
  test('uWebSockets.js is told whether a message is binary', async () => {
    const { socket, connection } = wrap();
    expect(await connection.send('text')).toBe(true);
    expect(await connection.send(Buffer.from('view'))).toBe(true);
    expect(await connection.send(Uint8Array.from([1, 2]).buffer)).toBe(true);
    expect(socket.sent).toEqual([
      { message: 'text', isBinary: false },
      { message: Uint8Array.from(Buffer.from('view')), isBinary: true },
      { message: Uint8Array.from([1, 2]), isBinary: true },
    ]);
  });

  test('a message that waits in the buffer of uWebSockets.js was sent, and one that it drops was not', async () => {
    const { socket, connection } = wrap();
    socket.answer = 0;
    expect(await connection.send('waits')).toBe(true);
    socket.answer = 2;
    expect(await connection.send('dropped')).toBe(false);
    expect(socket.sent).toEqual([{ message: 'waits', isBinary: false }]);
  });

  test('uWebSockets.js gets the broadcasts of a turn in one cork, in order', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>();
    await pool.newConnection(connection);
    const results = [1, 2, 3].map((n) => pool.broadcastMessage('default', `message ${n}`));
    for (const result of await Promise.all(results)) {
      expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
    }
    expect(socket.sent.map(({ message }) => message)).toEqual(['message 1', 'message 2', 'message 3']);
    expect(socket.corks).toBe(1);
    expect(socket.sentCorked).toBe(3);
  });

  test('uWebSockets.js gets a single message without a cork', async () => {
    const { socket, connection } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>();
    await pool.newConnection(connection);
    await pool.broadcastMessage('default', 'to all');
    await connection.send('private');
    expect(socket.sent.map(({ message }) => message)).toEqual(['to all', 'private']);
    expect(socket.corks).toBe(0);
  });

  // end() calls the close callback before it returns, and any use of the socket after that throws.
  test('close() calls end() of uWebSockets.js, and nothing touches the socket afterwards', async () => {
    const { socket, connection, events } = wrap();
    void connection.send('last');
    await connection.close(4000, 'bye');
    expect(socket.sent.map(({ message }) => message)).toEqual(['last']);
    expect(socket.ended).toEqual([{ code: 4000, reason: 'bye' }]);

    expect(connection.closed).toBe(true);
    expect(connection.bufferedAmount).toBe(0);
    expect(await connection.send('x')).toBe(false);
    await connection.close();
    connection.terminate();
    connection.handleDrain();
    expect(events).toEqual([['close', 4000, 'bye']]);
  });

  test('terminate() calls close() of uWebSockets.js, which sends no close frame', () => {
    const { socket, connection, events } = wrap();
    connection.terminate();
    connection.terminate();
    expect(socket.ended).toEqual([]);
    expect(() => socket.ping()).toThrow('closed');
    expect(events).toEqual([['close', 1006, '']]);
  });

  test('a socket of uWebSockets.js that closes without reporting it fails only its own sends', async () => {
    const gone = wrap('gone');
    const alive = wrap('alive');
    gone.socket.onClose = undefined;
    gone.socket.close();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof alive.connection>();
    await Promise.all([gone, alive].map(({ connection }) => pool.newConnection(connection)));

    const results = await Promise.all([
      pool.broadcastMessage('default', 'a'),
      pool.broadcastMessage('default', 'b'),
    ]);
    expect(results).toEqual([
      { recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 },
      { recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 },
    ]);
    expect(alive.socket.sent.map(({ message }) => message)).toEqual(['a', 'b']);
    expect(await gone.connection.send('x')).toBe(false);
    expect(gone.events.every(([event]) => event === 'error')).toBe(true);
  });

  test('getBufferedAmount() counts against maxBufferedBytes, and handleDrain() ends the episode', async () => {
    const { socket, connection, events } = wrap();
    const pool = new ConnectionsPool<string | Uint8Array | ArrayBuffer, typeof connection>({
      maxBufferedBytes: 100,
      onSlow: 'drop',
    });
    await pool.newConnection(connection);
    socket.buffered = 100;
    expect(connection.bufferedAmount).toBe(100);
    expect(await connection.send('refused')).toBe(false);
    socket.buffered = 0;
    connection.handleDrain();
    expect(await connection.send('taken')).toBe(true);
    expect(socket.sent.map(({ message }) => message)).toEqual(['taken']);
    expect(events).toEqual([['drain']]);
  });

  test('handlePong() of a uWebSockets.js socket emits a pong event', () => {
    const { connection, events } = wrap();
    connection.handlePong();
    expect(events).toEqual([['pong']]);
  });
});
