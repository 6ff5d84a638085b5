import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, ConnectionsError } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { record } from './support/registry-model.js';
import { watchUnhandled } from './support/unhandled.js';

test('a connection loses nothing when it is removed from a pool that it is not in', async () => {
  // Not even if that pool has a member with the same namespace and id, which stays.
  for (const ids of [[], ['1']]) {
    const [pool, other] = [new ConnectionsPool(), new ConnectionsPool()];
    const { connection, socket } = connectInMemory('1');
    await pool.newConnection(connection);
    for (const id of ids) await other.newConnection(connectInMemory(id).connection);
    const told = record(other);
    const onEmpty = vi.fn();

    const results = [pool.broadcastMessage('default', 'before')];
    await other.removeConnection(connection, onEmpty);
    results.push(pool.broadcastMessage('default', 'after'));
    void connection.send('private');

    for (const result of results) expect(await result).toMatchObject({ recipients: 1, sent: 1 });
    expect(socket.sent).toEqual(['before', 'after', 'private']);
    expect(pool.getConnection('default', '1')).toBe(connection);
    expect(other.stats().connections).toBe(ids.length);
    expect(told).toEqual([]);
    expect(onEmpty).not.toHaveBeenCalled();
  }
});

test.each([
  ['alone', []],
  ['with another', ['2']],
])(
  'a connection %s in its namespace that is removed while it is being removed leaves once',
  async (_, others) => {
    // Pending messages are delivered first, to handlers that may remove the connection as well.
    const pool = new ConnectionsPool();
    const onEmpty = vi.fn();
    const sent: unknown[] = [];
    const connection = new Connection('1', 'default', new MemorySocket(), {
      send: (message) => {
        sent.push(message);
        void pool.removeConnection(connection, onEmpty);
      },
      close: () => undefined,
    });
    await pool.newConnection(connection);
    for (const id of others) await pool.newConnection(connectInMemory(id).connection);
    const told = record(pool);

    const results = ['a', 'b'].map((message) => pool.broadcastMessage('default', message));
    await pool.removeConnection(connection, onEmpty);

    const recipients = 1 + others.length;
    for (const result of results) expect(await result).toMatchObject({ recipients, sent: recipients });
    expect(sent).toEqual(['a', 'b']);
    expect([...pool.namespace('default').keys()]).toEqual(others);
    expect(pool.stats()).toMatchObject({ connections: others.length, namespaces: others.length });
    const isEmptied = others.length === 0;
    expect(told).toEqual(['- default/1 undefined', ...(isEmptied ? ['0 default'] : [])]);
    expect(onEmpty).toHaveBeenCalledTimes(isEmptied ? 1 : 0);
  },
);

test('a connection of another pool is refused, and stays open', async () => {
  const { connection } = connectInMemory('1');
  await new ConnectionsPool().newConnection(connection);
  await expect(new ConnectionsPool().newConnection(connection)).rejects.toMatchObject({
    code: 'ERR_CONNECTION_IN_USE',
    message: 'Connection "1" of namespace "default" is in another pool',
  });
  expect(connection.closed).toBe(false);
});

test('a newcomer of a pool that drains is closed with 1013, and the pool emits the reason', async () => {
  const pool = new ConnectionsPool();
  await pool.drainConnections();
  const refused: unknown[][] = [];
  pool.on('refused', (...args) => refused.push(args));
  const { connection, socket } = connectInMemory('1');
  await expect(pool.newConnection(connection)).resolves.toBeUndefined();
  expect(refused).toEqual([[connection, expect.any(ConnectionsError)]]);
  expect(refused[0]![1]).toMatchObject({
    code: 'ERR_POOL_DRAINING',
    message: 'The pool is draining: Connection "1" of namespace "default" was refused',
  });
  expect(connection.closed).toBe(true);
  expect(pool.stats()).toMatchObject({ connections: 0, refused: 1 });
  expect(socket.closes).toEqual([{ code: 1013, reason: 'Draining' }]);
});

test("onDuplicate 'reject' closes the newcomer with 1013 and leaves the holder in place", async () => {
  // A refused newcomer stayed open: without heartbeat, broadcasts or drain, but the application still received its
  // messages, without any event.
  const pool = new ConnectionsPool();
  const refused: unknown[][] = [];
  pool.on('refused', (...args) => refused.push(args));
  const [holder, other] = [connectInMemory('1'), connectInMemory('1')];
  const heard: unknown[] = [];
  other.connection.on('message', (message) => heard.push(message));
  await pool.newConnection(holder.connection);
  await expect(pool.newConnection(other.connection)).resolves.toBeUndefined();
  expect(other.connection.closed).toBe(true);
  other.socket.emit('message', Buffer.from('refused, but I talk'), false);
  const broadcast = await pool.broadcastMessage('default', 'x');
  expect(broadcast).toMatchObject({ recipients: 1, sent: 1 });
  expect([holder.socket.sent, other.socket.sent]).toEqual([['x'], []]);
  expect(other.socket.closes).toEqual([{ code: 1013, reason: 'Duplicate id' }]);
  expect(holder.connection.closed).toBe(false);
  expect(heard).toEqual([]);
  expect(refused).toEqual([[other.connection, expect.any(ConnectionsError)]]);
  expect(refused[0]![1]).toMatchObject({
    code: 'ERR_DUPLICATE_CONNECTION',
    message: 'Connection "1" of namespace "default": the id is taken',
  });
  expect(pool.stats()).toMatchObject({ connections: 1, refused: 1, errors: 0 });

  // The end of the connection outside does not affect the one in the pool.
  await other.connection.close();
  await pool.removeConnection(other.connection);
  expect(pool.getConnection('default', '1')).toBe(holder.connection);
});

test('newConnection under a taken id causes no unhandled rejection if nobody awaits it', async () => {
  // A duplicate id is the client's doing, not that of the code that adds its connection.
  const { reasons, settle } = watchUnhandled();
  const pool = new ConnectionsPool();
  void pool.newConnection(connectInMemory('same').connection);
  void pool.newConnection(connectInMemory('same').connection);
  await settle();
  expect(reasons).toEqual([]);
});

interface Known {
  readonly connection: Connection;
  readonly socket: MemorySocket;
}

/** Ways in which the holder can already be closing, and what its peer was sent. */
const closings: readonly [title: string, begin: (holder: Known) => void, closes: object[]][] = [
  ['we', ({ connection }) => void connection.close(4000, 'bye'), [{ code: 4000, reason: 'bye' }]],
  ['its peer', ({ socket }) => (socket.readyState = 2), []],
];

test.each(closings)(
  'replacing a connection that %s had begun to close does not close it again',
  async (_, begin, closes) => {
    const pool = new ConnectionsPool({ onDuplicate: 'replace' });
    const holder = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(holder.connection);
    begin(holder);
    const told: unknown[][] = [];
    pool.on('disconnection', (...args) => told.push(args));

    const next = connectInMemory('1');
    await pool.newConnection(next.connection);
    holder.socket.end();

    expect(told).toStrictEqual([[holder.connection, undefined, '']]);
    expect(holder.socket.closes).toEqual(closes);
    expect(pool.getConnection('default', '1')).toBe(next.connection);
  },
);

test('a client that comes back replaces its connection every time', async () => {
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const pairs = Array.from({ length: 5 }, () => connectInMemory('1'));
  for (const { connection } of pairs) void pool.newConnection(connection);
  await nextTurn();
  expect(pool.getConnection('default', '1')).toBe(pairs[4]!.connection);
  expect(pairs.map(({ socket }) => socket.closes.map(({ code }) => code))).toEqual([
    [4409],
    [4409],
    [4409],
    [4409],
    [],
  ]);
});

test('the callback of removeConnection is not called for a connection that is unknown or was removed already', async () => {
  // The original checked after any removal whether the namespace was empty. It was after the removal of a connection
  // that had never joined, and after the second of two removals: the callback destroyed things twice.
  const pool = new ConnectionsPool();
  const onEmpty = vi.fn();
  const { connection } = connectInMemory('1');
  await pool.removeConnection(connection, onEmpty);
  expect(onEmpty).not.toHaveBeenCalled();

  await pool.newConnection(connection);
  await pool.removeConnection(connection, onEmpty);
  await pool.removeConnection(connection, onEmpty);
  expect(onEmpty).toHaveBeenCalledTimes(1);
});

test('removeConnection still calls its callback for a connection that closed first, unless somebody has joined', async () => {
  // The callback ran a second time for a connection that had emptied the namespace before others joined and left: what
  // belonged to the namespace was destroyed twice.
  const pool = new ConnectionsPool();
  const emptied: string[] = [];
  const remove = ({ connection }: Known): Promise<void> =>
    pool.removeConnection(connection, () => emptied.push(connection.id));
  const [first, second, third] = [
    connectInMemory('first'),
    connectInMemory('second'),
    connectInMemory('third'),
  ];
  await pool.newConnection(first.connection);
  first.socket.end();
  await pool.newConnection(second.connection);
  await remove(second);
  await remove(first);
  expect(emptied).toEqual(['second']);

  await pool.newConnection(third.connection);
  third.socket.end();
  await remove(third);
  await remove(third);
  expect(emptied).toEqual(['second', 'third']);
});

test('a connection whose socket had died before it joins is refused, and its close event still comes', async () => {
  // `newConnection` resolved and no `close` ever came: a list of users that is cleaned up in `close` kept an entry for
  // each client that left during its authentication.
  const pool = new ConnectionsPool();
  const refused: string[] = [];
  pool.on('refused', ({ id }, { code }) => refused.push(`${id} ${code}`));
  const socket = new MemorySocket();
  socket.end();
  const connection = new Connection('1', 'default', socket);
  expect(connection.closed).toBe(true);
  const closes: unknown[] = [];
  await pool.newConnection(connection);
  connection.on('close', (...args) => closes.push(args));
  expect(refused).toEqual(['1 ERR_CONNECTION_CLOSED']);
  expect(pool.stats()).toMatchObject({ connections: 0, refused: 1 });
  await nextTurn();
  expect(closes).toEqual([[1006, '']]);
});
