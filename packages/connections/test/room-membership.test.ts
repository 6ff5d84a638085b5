import { expect, test } from 'vitest';
import { Connection, ConnectionsError, ConnectionsPool, type ConnectionsPoolOptions } from '../src/index.js';
import { connectInMemory, endingWithTest, MemorySocket } from './support/memory-socket.js';
import { watchUnhandled } from './support/unhandled.js';

const EVENTS = [
  'connection',
  'disconnection',
  'refused',
  'join',
  'leave',
  'emptyRoom',
  'emptyNamespace',
] as const;

/** A pool, and everything that it emits about joins and leaves, in order. */
function recorded(options?: ConnectionsPoolOptions): {
  readonly pool: ConnectionsPool;
  readonly told: string[];
} {
  const pool = new ConnectionsPool(options);
  const told: string[] = [];
  for (const event of EVENTS)
    pool.on(event, (...args: unknown[]) => {
      const texts = args.slice(0, 2).map((arg) => (arg instanceof Connection ? String(arg.id) : arg));
      told.push([event, ...texts.filter((text) => typeof text === 'string')].join(' '));
    });
  return { pool, told };
}

const roomsOf = (pool: ConnectionsPool): Record<string, string[]> =>
  Object.fromEntries([...pool.rooms('default')].map(([room, members]) => [room, [...members.keys()]]));

test('a connection joins and leaves rooms at once, and each change is emitted once', () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  void pool.newConnection(connection);
  expect(connection.join('red')).toBe(true);
  expect(connection.join(new Set(['red', 'blue', 'blue']))).toBe(true);
  expect([...connection.rooms]).toEqual(['red', 'blue']);
  expect(roomsOf(pool)).toEqual({ red: ['a'], blue: ['a'] });
  expect(pool.room('default', 'red').get('a')).toBe(connection);
  connection.leave(['red', 'unknown']);
  connection.leave('red');
  expect(told).toEqual(['connection a', 'join a red', 'join a blue', 'leave a red', 'emptyRoom default red']);
  expect([pool.stats().rooms, roomsOf(pool)]).toEqual([1, { blue: ['a'] }]);
});

test('rooms that were joined before the pool are in force when the pool emits the connection', () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  connection.join(['red', 'blue']);
  pool.prependListener('connection', () => told.push(JSON.stringify(roomsOf(pool))));
  void pool.newConnection(connection);
  expect(told).toEqual(['{"red":["a"],"blue":["a"]}', 'connection a', 'join a red', 'join a blue']);
});

test('rooms are still filled in disconnection and close listeners, and leaves are emitted in order', () => {
  const { pool, told } = recorded();
  const { connection, socket } = connectInMemory('a');
  const { connection: other } = connectInMemory('b');
  for (const each of [connection, other]) void pool.newConnection(each);
  connection.join(['red', 'blue']);
  other.join('blue');
  told.length = 0;
  pool.prependListener('disconnection', ({ rooms }) =>
    told.push(`in ${[...rooms].join()} ${JSON.stringify(roomsOf(pool))}`),
  );
  connection.on('close', () => told.push(`close, in ${[...connection.rooms].join()}`));
  socket.end();
  other.terminate();
  expect(told).toEqual([
    'in red,blue {"blue":["b"]}',
    'disconnection a',
    'leave a red',
    'leave a blue',
    'emptyRoom default red',
    'close, in red,blue',
    'in blue {}',
    'disconnection b',
    'leave b blue',
    'emptyRoom default blue',
    'emptyNamespace default',
  ]);
  expect([connection.rooms.size, other.rooms.size, pool.stats().rooms]).toEqual([0, 0, 0]);
});

test('a connection that is closing or closed joins no room, and leaks nothing', async () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  told.length = 0;
  const closed = connection.close();
  expect([connection.join('red'), connection.join([]), roomsOf(pool)]).toEqual([false, false, {}]);
  await closed;
  expect(connection.join('red')).toBe(false);
  expect([connection.rooms.size, told]).toEqual([0, ['disconnection a', 'emptyNamespace default']]);
});

test('a connection cannot be in more rooms than the pool allows, and joins none of too many', async () => {
  const { pool } = recorded({ maxRoomsPerConnection: 3 });
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  connection.join(['1', '2']);
  expect(connection.join(['2', '3'])).toBe(true);
  expect(connection.join(['1', '2', '3'])).toBe(true);
  expect(() => connection.join(['4', '3'])).toThrow(
    expect.objectContaining({ name: 'ConnectionsError', code: 'ERR_TOO_MANY_ROOMS' }),
  );
  expect([...connection.rooms]).toEqual(['1', '2', '3']);
  connection.leave('1');
  expect(connection.join('4')).toBe(true);
});

test('a pool does not take a connection that has joined too many rooms, and the connection stays open', async () => {
  const { pool, told } = recorded({ maxRoomsPerConnection: 2 });
  const { connection, socket } = connectInMemory('a');
  connection.join(['1', '2', '3']);
  const error: unknown = await pool.newConnection(connection).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConnectionsError);
  expect(error).toMatchObject({ code: 'ERR_TOO_MANY_ROOMS' });
  expect([told, connection.closed, socket.closes]).toEqual([[], false, []]);
});

test('a connection may be in one hundred rooms by default', () => {
  const { pool } = recorded();
  const { connection } = connectInMemory('a');
  void pool.newConnection(connection);
  const names = Array.from({ length: 100 }, (_, index) => `room ${index}`);
  expect(connection.join(names)).toBe(true);
  expect(() => connection.join('one more')).toThrow('at most 100 rooms');
});

test.each([undefined, null, 5, {}, ['red', 5]])('%j is refused as a room to join or leave', (rooms) => {
  const { connection } = connectInMemory('a');
  expect(() => connection.join(rooms as never)).toThrow(TypeError);
  expect(() => connection.leave(rooms as never)).toThrow(TypeError);
});

test.each(['__proto__', 'constructor', '', ' ', '\u0000', 'x'.repeat(10_000)])(
  '%j is an ordinary name of a room',
  async (name) => {
    const { pool } = recorded();
    const { connection, socket } = connectInMemory('a');
    await pool.newConnection(connection);
    connection.join(name);
    expect([...pool.rooms('default').keys()]).toEqual([name]);
    expect(await pool.broadcastMessage('default', 'x', { rooms: name })).toMatchObject({ recipients: 1 });
    expect(socket.sent).toEqual(['x']);
    connection.leave(name);
    expect(pool.rooms('default').size).toBe(0);
  },
);

test('rooms of different namespaces are different rooms', async () => {
  const { pool } = recorded();
  const [one, two] = [connectInMemory('a', 'one'), connectInMemory('a', 'two')];
  for (const { connection } of [one, two]) {
    await pool.newConnection(connection);
    connection.join('red');
  }
  expect(await pool.broadcastMessage('one', 'x', { rooms: 'red' })).toMatchObject({ recipients: 1 });
  expect([one.socket.sent, two.socket.sent]).toEqual([['x'], []]);
});

test('room() returns an empty map for a room without members, and does not create the room', () => {
  const { pool } = recorded();
  expect([
    pool.room('nowhere', 'red').size,
    pool.rooms('nowhere').size,
    pool.hasNamespace('nowhere'),
  ]).toEqual([0, 0, false]);
});

test('a replacement does not inherit the rooms of the connection that it replaces', async () => {
  const { pool, told } = recorded({ onDuplicate: 'replace' });
  const [old, newer] = [connectInMemory('a').connection, connectInMemory('a').connection];
  await pool.newConnection(old);
  old.join(['red', 'blue']);
  newer.join(['blue', 'green']);
  told.length = 0;
  await pool.newConnection(newer);
  expect([old.rooms.size, [...newer.rooms]]).toEqual([0, ['blue', 'green']]);
  expect(pool.room('default', 'blue').get('a')).toBe(newer);
  expect(roomsOf(pool)).toEqual({ blue: ['a'], green: ['a'] });
  expect(told).toEqual([
    'disconnection a',
    'leave a red',
    'leave a blue',
    'emptyRoom default red',
    'connection a',
    'join a blue',
    'join a green',
  ]);
});

test('a connection that is removed leaves its rooms, and can join a pool again without them', async () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  connection.join('red');
  told.length = 0;
  await pool.removeConnection(connection);
  expect(told).toEqual(['disconnection a', 'leave a red', 'emptyRoom default red', 'emptyNamespace default']);
  expect([connection.rooms.size, connection.closed]).toEqual([0, false]);
  const other = new ConnectionsPool();
  connection.join('green');
  await other.newConnection(connection);
  expect(roomsOf(other)).toEqual({ green: ['a'] });
  expect(roomsOf(pool)).toEqual({});
});

test('a connection that joins a pool again while it leaves one is in none of its earlier rooms', async () => {
  for (const isSame of [false, true]) {
    const { pool, told } = recorded();
    const other = isSame ? pool : new ConnectionsPool();
    const { connection } = connectInMemory('a');
    await pool.newConnection(connection);
    connection.join('red');
    told.length = 0;
    pool.once('disconnection', () => {
      void other.newConnection(connection);
      connection.join('red');
    });
    await pool.removeConnection(connection);
    expect([[...connection.rooms], roomsOf(other)]).toEqual([['red'], { red: ['a'] }]);
    // Leaving is emitted before joining again.
    if (isSame) expect(told).toEqual(['disconnection a', 'leave a red', 'connection a', 'join a red']);
    connection.terminate();
    expect([pool.stats().rooms, other.stats().rooms]).toEqual([0, 0]);
  }
});

test('a room that is joined while the disconnection is emitted stays joined', async () => {
  const { pool } = recorded();
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  connection.join('red');
  pool.once('disconnection', () => expect(connection.join('blue')).toBe(true));
  await pool.removeConnection(connection);
  expect([...connection.rooms]).toEqual(['blue']);
});

test('a connection that is released cannot join again, not even while its disconnection is emitted', async () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  connection.join('red');
  pool.once('disconnection', () => void pool.newConnection(connection));
  connection.release();
  expect(pool.stats()).toMatchObject({ connections: 0, rooms: 0, closing: 0, refused: 1 });
  expect(told).toContain('refused a');
});

test('a replaced connection whose last message closes it emits that it leaves its rooms', async () => {
  const { pool, told } = recorded({ onDuplicate: 'replace' });
  const socket = new MemorySocket();
  const old = new Connection('a', 'default', socket);
  socket.send = () => socket.end();
  await pool.newConnection(old);
  old.join(['red', 'blue']);
  void pool.broadcastMessage('default', 'x');
  await pool.newConnection(connectInMemory('a').connection);
  expect(told.filter((line) => /leave|emptyRoom/.test(line))).toEqual([
    'leave a red',
    'leave a blue',
    'emptyRoom default red',
    'emptyRoom default blue',
  ]);
  expect(pool.stats().rooms).toBe(0);
});

test('a connection that is refused or released is in no room', async () => {
  const { pool, told } = recorded();
  const [first, refused] = [connectInMemory('a').connection, connectInMemory('a').connection];
  await pool.newConnection(first);
  first.join('red');
  refused.join('blue');
  await pool.newConnection(refused);
  first.release();
  expect([first.rooms.size, refused.rooms.size, roomsOf(pool)]).toEqual([0, 0, {}]);
  expect(told).toEqual([
    'connection a',
    'join a red',
    'refused a',
    'disconnection a',
    'leave a red',
    'emptyRoom default red',
    'emptyNamespace default',
  ]);
});

test('a room that a listener joins and leaves again is emitted as empty once', () => {
  const { pool, told } = recorded();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  for (const each of [a, b]) void pool.newConnection(each);
  a.join('red');
  pool.once('leave', () => {
    b.join('red');
    b.leave('red');
  });
  told.length = 0;
  a.leave('red');
  // The listener was added first.
  expect(told.filter((line) => line.startsWith('emptyRoom'))).toEqual(['emptyRoom default red']);
});

test('a room that a listener fills again is not emitted as empty', () => {
  const { pool, told } = recorded();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  for (const each of [a, b]) void pool.newConnection(each);
  a.join('red');
  pool.once('leave', () => b.join('red'));
  a.leave('red');
  expect(told).not.toContain('emptyRoom default red');
  expect(roomsOf(pool)).toEqual({ red: ['b'] });
});

test('a room that is left before its join is emitted is not emitted at all', () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  pool.on('join', (_, room) => {
    if (room === 'red') connection.leave('blue');
  });
  void pool.newConnection(connection);
  connection.join(['red', 'blue']);
  expect(told).toEqual(['connection a', 'join a red']);
  expect(roomsOf(pool)).toEqual({ red: ['a'] });
});

test('a room that was never emitted does not emit an end', () => {
  // The room was emitted as empty, although its beginning had never been emitted.
  const { pool, told } = recorded({ onDuplicate: 'replace' });
  const [left, closed] = [connectInMemory('a').connection, connectInMemory('b').connection];
  left.join(['red', 'blue']);
  closed.join('red');
  pool.once('connection', (connection) => connection.leave('red'));
  void pool.newConnection(left);
  pool.once('connection', (connection) => connection.terminate());
  void pool.newConnection(closed);
  expect(told).toEqual(['connection a', 'join a blue', 'connection b', 'disconnection b']);
  expect(roomsOf(pool)).toEqual({ blue: ['a'] });
});

test('a room that was emitted emits its end, even if its last member was never emitted', () => {
  const { pool, told } = recorded();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  a.join('red');
  b.join('red');
  void pool.newConnection(a);
  pool.once('connection', () => {
    a.leave('red');
    b.leave('red');
  });
  void pool.newConnection(b);
  expect(told).toEqual([
    'connection a',
    'join a red',
    'connection b',
    'leave a red',
    'emptyRoom default red',
  ]);
});

test('a room that is filled again before its end is emitted still ends when the last member leaves', () => {
  const { pool, told } = recorded();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  void pool.newConnection(a);
  a.join('red');
  b.join('red');
  told.length = 0;
  pool.once('leave', () => void pool.newConnection(b));
  pool.prependOnceListener('connection', () => b.leave('red'));
  a.leave('red');
  // The end is emitted while the listeners of `leave` and `connection` are still being called.
  expect(told).toEqual(['leave a red', 'emptyRoom default red', 'connection b']);
});

test('a connection is emitted to all listeners before its rooms are', () => {
  // A listener had a newcomer join a room: the room was emitted before the newcomer.
  const { pool, told } = recorded({ onDuplicate: 'replace' });
  const [old, newer] = [connectInMemory('a').connection, connectInMemory('a').connection];
  void pool.newConnection(old);
  told.length = 0;
  newer.join('red');
  pool.prependOnceListener('disconnection', () => newer.join('blue'));
  pool.prependOnceListener('connection', () => {
    newer.join('green');
    newer.leave('red');
  });
  void pool.newConnection(newer);
  expect(told).toEqual(['disconnection a', 'connection a', 'join a blue', 'join a green']);
  expect(roomsOf(pool)).toEqual({ blue: ['a'], green: ['a'] });
  newer.join('red');
  expect(told.at(-1)).toBe('join a red');
});

test('the events of a newcomer that a listener removes and adds again come in order', () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  connection.join('red');
  pool.once('connection', () => {
    void pool.removeConnection(connection);
    connection.join('blue');
    void pool.newConnection(connection);
  });
  void pool.newConnection(connection);
  expect(told).toEqual([
    'connection a',
    'disconnection a',
    'emptyNamespace default',
    'connection a',
    'join a blue',
  ]);
  connection.join('green');
  expect(told.at(-1)).toBe('join a green');
});

test('join returns false if a listener has made the connection leave one of the rooms', () => {
  const { pool } = recorded();
  const { connection } = connectInMemory('a');
  void pool.newConnection(connection);
  pool.once('join', () => connection.leave('blue'));
  expect(connection.join(['red', 'blue'])).toBe(false);
  expect([...connection.rooms]).toEqual(['red']);
});

test('a connection in no pool joins and leaves rooms, and may leave rooms that it is not in', () => {
  const { connection } = connectInMemory('a');
  connection.leave('red');
  connection.join(['red', 'blue']);
  connection.leave(['red', 'green']);
  expect([...connection.rooms]).toEqual(['blue']);
});

test('calls that change nothing do not disturb the order of room events', () => {
  const { pool, told } = recorded();
  const { connection } = connectInMemory('a');
  void pool.newConnection(connection);
  connection.join(['red', 'blue', 'green']);
  told.length = 0;
  pool.prependOnceListener('leave', () => {
    connection.join('green');
    connection.leave('unknown');
  });
  connection.leave(['red', 'blue']);
  expect(told).toEqual(['leave a red', 'leave a blue', 'emptyRoom default red', 'emptyRoom default blue']);
});

test('listeners of join and leave may join and leave rooms', () => {
  const { pool } = recorded();
  const { connection } = connectInMemory('a');
  pool.on('join', (_, room) => room === 'red' && connection.join('green'));
  pool.on('leave', (_, room) => room === 'red' && connection.leave('green'));
  void pool.newConnection(connection);
  connection.join('red');
  expect([...connection.rooms]).toEqual(['red', 'green']);
  connection.leave('red');
  expect([connection.rooms.size, roomsOf(pool)]).toEqual([0, {}]);
});

test('a listener of join that closes the connection leaves nobody in any room', async () => {
  const { pool } = recorded();
  const { connection } = connectInMemory('a');
  pool.on('join', () => void connection.close());
  await pool.newConnection(connection);
  connection.join(['red', 'blue']);
  await expect.poll(() => pool.stats()).toMatchObject({ connections: 0, rooms: 0, namespaces: 0 });
});

test('a listener of a room event that throws does not stop the others', async () => {
  const unhandled = watchUnhandled();
  const { pool } = recorded();
  const errors: string[] = [];
  pool.on('error', ({ message }) => errors.push(message));
  for (const event of ['join', 'leave', 'emptyRoom'] as const)
    pool.prependListener(event, () => {
      throw new Error(event);
    });
  const { connection } = connectInMemory('a');
  await pool.newConnection(connection);
  connection.join(['red', 'blue']);
  await pool.removeConnection(connection);
  expect(errors).toEqual(['join', 'join', 'leave', 'leave', 'emptyRoom', 'emptyRoom']);
  expect(await unhandled.settle()).toEqual([]);
});

test('a subclass may override join and leave', () => {
  class Named extends Connection {
    override join(rooms: string | Iterable<string>): boolean {
      return super.join([...(typeof rooms === 'string' ? [rooms] : rooms)].map((room) => `my:${room}`));
    }

    override leave(): void {
      throw new Error('Not in this application');
    }
  }
  const { pool, told } = recorded();
  const connection = new Named('a', 'default', new MemorySocket());
  void pool.newConnection(connection);
  connection.join('red');
  connection.terminate();
  expect(told).toContain('leave a my:red');
  expect(roomsOf(pool)).toEqual({});
});

test('user code that joins and leaves while its connection is being replaced corrupts no room', async () => {
  const { pool } = recorded({ onDuplicate: 'replace' });
  const old: Connection = new Connection('a', 'default', endingWithTest(new MemorySocket()), {
    send: () => {
      old.join('late');
      old.leave('red');
    },
    close: () => undefined,
  });
  const { connection: newer } = connectInMemory('a');
  await pool.newConnection(old);
  old.join(['red', 'blue']);
  newer.join('blue');
  // The message is delivered when the old connection is replaced.
  void pool.broadcastMessage('default', 'x');
  await pool.newConnection(newer);
  expect(roomsOf(pool)).toEqual({ blue: ['a'] });
  expect(pool.room('default', 'blue').get('a')).toBe(newer);
  expect(old.rooms.size).toBe(0);
  newer.terminate();
  expect(pool.stats()).toMatchObject({ rooms: 0, connections: 0 });
});
