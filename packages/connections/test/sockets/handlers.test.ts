import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { driverOf } from '../../src/sockets/probe.js';
import { UwsSocket } from '../support/callback-sockets.js';
import { MemorySocket } from '../support/memory-socket.js';
import { record } from '../support/record.js';

test('handlers get the broadcasts of a turn, and the socket that they replace is not corked', async () => {
  const socket = new UwsSocket();
  const sent: string[] = [];
  const connection = new Connection<string, string, UwsSocket>('1', 'default', socket, {
    send: (message: string) => sent.push(message),
    close: () => undefined,
  });
  const pool = new ConnectionsPool<string, typeof connection>();
  await pool.newConnection(connection);
  await Promise.all(['a', 'b'].map((message) => pool.broadcastMessage('default', message)));
  expect(sent).toEqual(['a', 'b']);
  expect(socket.corks).toBe(0);
});

const endings: readonly [title: string, end: (socket: MemorySocket, connection: Connection) => void][] = [
  ['the socket closes', (socket) => socket.end(4001)],
  ['the connection is terminated', (_, connection) => connection.terminate()],
];

test.each(endings)('a close handler that waits for sends is not called any more when %s', async (_, end) => {
  let release!: () => void;
  const socket = new MemorySocket();
  const close = vi.fn();
  const connection = new Connection('1', 'default', socket, {
    send: () => new Promise<void>((resolve) => (release = resolve)),
    close,
  });
  void connection.send('slow');
  const closed = connection.close(4000);
  end(socket, connection);
  await closed;
  release();
  await nextTurn();
  expect(close).not.toHaveBeenCalled();
});

test('a socket without events has closed when its close handler settles', async () => {
  let release!: () => void;
  const answered = new Promise<void>((resolve) => (release = resolve));
  const connection = new Connection('1', 'default', {}, { send: () => undefined, close: () => answered });
  const events = record(connection);
  const closed = connection.close(4000, 'bye');
  expect(events).toEqual([]);
  release();
  await closed;
  expect(events).toEqual([['close', 4000, 'bye']]);
});

test('a socket without events has closed when its close handler returns nothing', async () => {
  const connection = new Connection('1', 'default', {}, { send: () => undefined, close: () => undefined });
  const events = record(connection);
  void connection.close(4000, 'bye');
  await nextTurn();
  expect(events).toEqual([['close', 4000, 'bye']]);
});

test('a socket with close events has closed when it emits close, not when its close handler settles', async () => {
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket, {
    send: () => undefined,
    close: () => Promise.resolve(),
  });
  const events = record(connection);
  const closed = connection.close(4000, 'bye');
  await nextTurn();
  expect(events).toEqual([]);
  socket.end(4001, 'from the peer');
  await closed;
  expect(events).toEqual([['close', 4001, 'from the peer']]);
});

test.each([null, {}, { send: () => undefined }, { close: () => undefined }, 'x'])(
  'handlers of %o are a TypeError, because they need send() and close()',
  (handlers) => {
    const socket = { send: () => undefined, close: () => undefined };
    expect(() => new Connection('1', 'default', socket, handlers as never)).toThrow(TypeError);
  },
);

/** Its constructor is not the one of a typed array. */
class Packet extends Uint8Array {
  constructor(kind: number, size: unknown) {
    if (typeof size !== 'number') throw new TypeError('size?');
    super(size);
    this[0] = kind;
  }
}

// Copies were made with the message's own constructor, which may take anything: its error ended the process.
test('handlers and sockets get a broadcast typed array whose class has its own constructor', async () => {
  const socket = new MemorySocket();
  const taken: unknown[] = [];
  const handlers = { send: (message: unknown) => taken.push(message), close: () => undefined };
  const pool = new ConnectionsPool();
  await pool.newConnection(new Connection('1', 'default', {}, handlers));
  await pool.newConnection(new Connection('2', 'default', socket));
  const results = await Promise.all([
    pool.broadcastMessage('default', new Packet(7, 2)),
    pool.broadcastMessage('default', 'later'),
  ]);
  expect(results).toMatchObject([{ sent: 2 }, { sent: 2 }]);
  expect(taken).toEqual([Uint8Array.of(7, 0), 'later']);
  expect(socket.sent).toEqual([Buffer.of(7, 0), 'later']);
});

// It got the caller's own buffer, with whatever the caller had written into it meanwhile.
test('handlers get a private binary message that waited as it was when it was sent', async () => {
  const taken: string[] = [];
  const connection = new Connection('1', 'default', {}, {
    send: (message: Buffer) => taken.push(message.toString()),
    close: () => undefined,
  } as never);
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  const buffer = Buffer.from('first');
  void pool.broadcastMessage('default', buffer);
  const sent = connection.send(buffer.fill('2'));
  buffer.fill('3');
  expect(await sent).toBe(true);
  expect(taken).toEqual(['first', '22222']);
});

test('handlers replace send and close of a socket, and nothing else of it', async () => {
  const socket = {
    ...{ send: vi.fn(), close: vi.fn(), terminate: vi.fn(), ping: vi.fn(), cork: vi.fn() },
    ...{ bufferedAmount: 7, readyState: 2 },
  };
  const handlers = { send: vi.fn(() => 'sent'), close: vi.fn(() => Promise.resolve('closed')) };
  const driver = driverOf(socket, handlers);
  expect(driver.send(socket, 'text', false)).toBe('sent');
  expect(await driver.close(socket, 4000, 'bye')).toBeUndefined();
  expect([handlers.send.mock.calls, handlers.close.mock.calls]).toEqual([[['text']], [[4000, 'bye']]]);
  const sends = vi.fn();
  driver.cork(socket, sends);
  expect(sends).toHaveBeenCalledOnce();
  expect([driver.terminate(socket), driver.bufferedAmount(socket), driver.readyState(socket)]).toEqual([
    true,
    7,
    2,
  ]);
  driver.ping(socket);
  expect([socket.terminate, socket.ping].map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
  for (const replaced of [socket.send, socket.close, socket.cork]) expect(replaced).not.toHaveBeenCalled();
});
