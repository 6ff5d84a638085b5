import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type BroadcastOptions,
  type WebSocketMessage,
} from '../../src/index.js';
import { BroadcastLog } from '../../src/sending/broadcast-log.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { MemorySocket } from '../support/memory-socket.js';

/** A pool whose members are in these rooms, on sockets that take whole frames. */
function poolWith<Name extends string>(
  rooms: Readonly<Record<Name, string>>,
): {
  readonly pool: ConnectionsPool;
  readonly of: Readonly<Record<Name, { readonly connection: Connection; readonly socket: FakeWsSocket }>>;
} {
  const pool = new ConnectionsPool();
  const of = {} as Record<Name, { readonly connection: Connection; readonly socket: FakeWsSocket }>;
  for (const id of Object.keys(rooms) as Name[]) {
    const socket = new FakeWsSocket();
    const connection = new Connection(id, 'default', socket);
    connection.join(rooms[id].split(' ').filter(Boolean));
    void pool.newConnection(connection);
    of[id] = { connection, socket };
  }
  return { pool, of };
}

/** The texts in the frames, all of them short. */
const textsIn = ({ _socket }: FakeWsSocket): string[] => {
  const { bytes } = _socket;
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes[at + 1]!)
    texts.push(bytes.toString('latin1', at + 2, at + 2 + bytes[at + 1]!));
  return texts;
};

test.each<[title: string, audience: BroadcastOptions<string> | string[] | undefined, ids: string]>([
  ['nothing', undefined, 'a b c d'],
  ['no option', {}, 'a b c d'],
  ['one room', { rooms: 'red' }, 'a b'],
  ['several rooms', { rooms: ['red', 'blue'] }, 'a b c'],
  ['a room that is named twice', { rooms: ['red', 'red'] }, 'a b'],
  ['a room that does not exist', { rooms: ['green', 'blue'] }, 'b c'],
  ['no room', { rooms: [] }, ''],
  ['a room to leave out', { exceptRooms: 'red' }, 'c d'],
  ['a room to leave out that does not exist', { exceptRooms: ['green', 'red'] }, 'c d'],
  ['a room, and a room to leave out', { rooms: 'red', exceptRooms: ['blue'] }, 'a'],
  ['a room that is also left out', { rooms: 'red', exceptRooms: 'red' }, ''],
  ['a room, and an id to leave out', { rooms: 'red', exceptions: ['a', 'nobody'] }, 'b'],
  ['ids to leave out', ['a', 'd'], 'b c'],
  ['all of it', { rooms: ['red', 'blue'], exceptRooms: 'blue', exceptions: ['a'] }, ''],
])('an audience of %s reaches exactly its members, each once', async (_, audience, ids) => {
  const { pool, of } = poolWith({ a: 'red', b: 'red blue', c: 'blue', d: '' });
  const result = pool.broadcastMessage('default', 'x', audience);
  pool.flush();
  const recipients = ids.split(' ').filter(Boolean);
  expect(await result).toEqual({
    recipients: recipients.length,
    sent: recipients.length,
    dropped: 0,
    failed: 0,
    conflated: 0,
  });
  for (const [id, { socket }] of Object.entries(of))
    expect(textsIn(socket)).toEqual(recipients.includes(id) ? ['x'] : []);
});

test('messages to the namespace, to rooms and to one connection leave in the order of the calls, in one write', async () => {
  const { pool, of } = poolWith({ a: 'red', b: 'red blue', c: 'blue', d: '' });
  const results = [
    pool.broadcastMessage('default', '1', { rooms: 'red' }),
    pool.broadcastMessage('default', '2'),
    pool.broadcastMessage('default', '3', { rooms: ['red', 'blue'] }),
    pool.send('default', 'b', 'private'),
    pool.broadcastMessage('default', '4', { rooms: 'blue', exceptions: ['c'] }),
    pool.broadcastMessage('default', '5'),
    pool.broadcastMessage('default', '6', { rooms: 'red' }),
  ];
  pool.flush();
  await Promise.all(results);
  expect([of.a, of.b, of.c, of.d].map(({ socket }) => textsIn(socket).join())).toEqual([
    '1,2,3,5,6',
    '1,2,3,private,4,5,6',
    '2,3,5',
    '2,5',
  ]);
  expect([of.a, of.b, of.c, of.d].map(({ socket }) => socket._socket.chunks.length)).toEqual([1, 1, 1, 1]);
});

test('connections that get the same messages share one buffer, through whichever rooms', () => {
  const { pool, of } = poolWith({ a: 'red', b: 'blue', c: 'red blue', d: 'green', e: 'green' });
  void pool.broadcastMessage('default', '1', { rooms: ['red', 'blue'] });
  void pool.broadcastMessage('default', '2', { rooms: ['green'] });
  void pool.broadcastMessage('default', '3', { rooms: 'blue' });
  pool.flush();
  const chunk = (id: keyof typeof of): Buffer | undefined => of[id].socket._socket.chunks[0];
  expect(chunk('b')).toBe(chunk('c'));
  expect(chunk('d')).toBe(chunk('e'));
  expect(new Set(Object.keys(of).map((id) => chunk(id as keyof typeof of))).size).toBe(3);
});

test('a broadcast to a room writes nothing to the other members of the namespace', () => {
  const { pool, of } = poolWith({ a: 'red', b: 'blue', c: '' });
  void pool.broadcastMessage('default', '1', { rooms: 'red' });
  pool.flush();
  expect(Object.values(of).map(({ socket }) => socket._socket.chunks.length)).toEqual([1, 0, 0]);
  expect(pool.stats()).toMatchObject({ writes: 1, messagesSent: 1 });
});

test('a connection that joins a room gets nothing from before, and one that leaves loses nothing', () => {
  const { pool, of } = poolWith({ a: 'red', b: '' });
  void pool.broadcastMessage('default', '1', { rooms: 'red' });
  of.a.connection.leave('red');
  of.b.connection.join('red');
  void pool.broadcastMessage('default', '2', { rooms: 'red' });
  of.a.connection.join('red');
  void pool.broadcastMessage('default', '3', { rooms: 'red' });
  pool.flush();
  expect([textsIn(of.a.socket), textsIn(of.b.socket)]).toEqual([
    ['1', '3'],
    ['2', '3'],
  ]);
});

test('a room that was broadcast to has its new members at the next broadcast, and no former ones', () => {
  const { pool, of } = poolWith({ a: 'red', b: 'red', c: '' });
  void pool.broadcastMessage('default', '1', { rooms: 'red' });
  of.a.connection.leave('red');
  void pool.broadcastMessage('default', '2', { rooms: 'red' });
  of.c.connection.join('red');
  void pool.broadcastMessage('default', '3', { rooms: 'red' });
  pool.flush();
  expect([textsIn(of.a.socket), textsIn(of.b.socket), textsIn(of.c.socket)]).toEqual([
    ['1'],
    ['1', '2', '3'],
    ['3'],
  ]);
});

test('a connection that leaves the pool gets what its rooms were sent before, and nothing after', async () => {
  const { pool, of } = poolWith({ a: 'red', b: 'red' });
  const before = pool.broadcastMessage('default', 'before', { rooms: 'red' });
  await pool.removeConnection(of.a.connection);
  const after = pool.broadcastMessage('default', 'after', { rooms: 'red' });
  pool.flush();
  expect([await before, await after]).toMatchObject([
    { recipients: 2, sent: 2 },
    { recipients: 1, sent: 1 },
  ]);
  expect([textsIn(of.a.socket), textsIn(of.b.socket)]).toEqual([['before'], ['before', 'after']]);
});

test('a member that is closing is not a recipient, although the room still has it', async () => {
  const { pool, of } = poolWith({ a: 'red', b: 'red' });
  void of.a.connection.close();
  expect(pool.room('default', 'red').size).toBe(2);
  const result = pool.broadcastMessage('default', 'x', { rooms: 'red' });
  pool.flush();
  expect(await result).toMatchObject({ recipients: 1, sent: 1 });
});

test('a broadcast to a room writes to its members alone, however many rooms there are', () => {
  const { pool, of } = poolWith({ a: 'red', b: 'blue', c: '', d: '' });
  of.c.connection.join(Array.from({ length: 99 }, (_, index) => `silent ${index}`));
  void pool.broadcastMessage('default', 'x', { rooms: 'red' });
  pool.flush();
  expect(pool.stats()).toMatchObject({ writes: 1, messagesSent: 1, broadcasts: 1, rooms: 101 });
  void pool.broadcastMessage('default', 'y');
  pool.flush();
  expect(pool.stats()).toMatchObject({ writes: 5, messagesSent: 5 });
});

test('handlers, generic sockets and an overridden send get what their rooms are sent, in order', async () => {
  class Overridden extends Connection {
    override send(message: WebSocketMessage): Promise<boolean> {
      return super.send(`my ${message as string}`);
    }
  }
  const pool = new ConnectionsPool();
  const handled: unknown[] = [];
  const handlers = { send: (message: unknown) => void handled.push(message), close: () => undefined };
  const [generic, overridden] = [new MemorySocket(), new MemorySocket()];
  const connections = [
    new Connection('a', 'default', {}, handlers),
    new Connection('b', 'default', generic),
    new Overridden('c', 'default', overridden),
  ];
  for (const connection of connections) {
    connection.join(['red', 'blue']);
    await pool.newConnection(connection);
  }
  const results = [
    pool.broadcastMessage('default', '1', { rooms: ['red', 'blue'] }),
    pool.broadcastMessage('default', '2'),
    pool.broadcastMessage('default', '3', { rooms: 'red', exceptions: ['b'] }),
  ];
  for (const result of results) expect((await result).failed).toBe(0);
  expect([handled, generic.sent, overridden.sent]).toEqual([
    ['1', '2', '3'],
    ['1', '2'],
    ['my 1', 'my 2', 'my 3'],
  ]);
});

test('closeAll closes the members of rooms, or those outside of rooms', async () => {
  const { pool, of } = poolWith({ a: 'user:1', b: 'user:1', c: 'user:2', d: '' });
  await pool.closeAll('default', { rooms: 'user:1', exceptions: ['b'], code: 4001, reason: 'Logged out' });
  expect([...pool.namespace('default').keys()]).toEqual(['b', 'c', 'd']);
  expect(of.a.socket.closes).toEqual([{ code: 4001, reason: 'Logged out' }]);
  await pool.closeAll('default', 4002, '', { exceptRooms: ['user:1', 'user:2'] });
  expect([...pool.namespace('default').keys()]).toEqual(['b', 'c']);
  await pool.closeAll('default', { rooms: [] });
  expect(pool.namespace('default').size).toBe(2);
  await pool.closeAll('default', {});
  expect(pool.namespace('default').size).toBe(0);
});

test.each([
  ['options of null', ['default', null]],
  ['a code that is wrong among the options', ['default', { code: 5 }]],
  ['a room that is no string', ['default', { rooms: [5] }]],
  ['rooms of null', ['default', { rooms: null }]],
  ['ids', ['default', new Set(['a'])]],
  ['an empty list', ['default', []]],
  ['ids after code and reason', ['default', 1000, '', ['b'].values()]],
  ['a promise', ['default', Promise.resolve()]],
  ['a code in two places', ['default', undefined, undefined, { code: 4001 }]],
  ['an unknown option', ['default', { room: 'red' }]],
  ['options that are a string', ['default', 1000, '', 'red']],
  ['a key to conflate by', ['default', { conflate: 'k' }]],
])('closeAll with %s is refused, and nobody is closed', async (_, args) => {
  const { pool } = poolWith({ a: '' });
  await expect(pool.closeAll(...(args as [string]))).rejects.toThrow(/Expected|Unknown/);
  expect(pool.getConnection('default', 'a')?.closed).toBe(false);
});

test('a fatal broadcastError to rooms closes its recipients only', async () => {
  const { pool, of } = poolWith({ a: 'red', b: 'red', c: '' });
  const result = pool.broadcastError('default', 'fatal', 4001, '', { rooms: 'red', exceptions: ['b'] });
  pool.flush();
  expect(await result).toMatchObject({ recipients: 1, sent: 1 });
  expect([of.a, of.b, of.c].map(({ connection }) => connection.closed)).toEqual([true, false, false]);
  expect(textsIn(of.a.socket)).toEqual(['fatal']);
});

test('a broadcast to a room waits in bufferedAmount of its members alone', () => {
  const { pool, of } = poolWith({ a: 'red', b: '' });
  void pool.broadcastMessage('default', 'x'.repeat(100), { rooms: 'red' });
  void pool.broadcastMessage('default', 'y'.repeat(50));
  expect([of.a, of.b].map(({ connection }) => connection.bufferedAmount)).toEqual([154, 52]);
  pool.flush();
  expect([of.a, of.b].map(({ connection }) => connection.bufferedAmount)).toEqual([0, 0]);
});

test('a message larger than the maximum of a log starts to leave before the turn ends, to its room alone', () => {
  const { pool, of } = poolWith({ a: 'red', b: '' });
  void pool.broadcastMessage('default', Buffer.alloc(2 * 1024 * 1024), { rooms: 'red' });
  expect([of.a, of.b].map(({ socket }) => socket._socket.bytesWritten > 0)).toEqual([true, false]);
});

test('an audience instead of the reason of broadcastError is refused', async () => {
  const { pool, of } = poolWith({ a: 'red', b: '' });
  await expect(pool.broadcastError('default', 'x', undefined, { rooms: 'red' } as never)).rejects.toThrow(
    'a close reason',
  );
  pool.flush();
  expect([textsIn(of.a.socket), textsIn(of.b.socket)]).toEqual([[], []]);
});

// Each list of picks had its own copy of all messages of the namespace: 1,000 members with a room each cost 600 MB per
// turn.
test('members with different rooms share the bytes of large messages', () => {
  const { pool, of } = poolWith({ a: 'a', b: 'b' });
  const large = 'x'.repeat(30_000);
  void pool.broadcastMessage('default', large);
  for (const room of ['a', 'b']) void pool.broadcastMessage('default', room, { rooms: room });
  pool.flush();
  const [toA, toB] = [of.a, of.b].map(({ socket }) => socket._socket.chunks);
  expect([toA!.length, toB!.length]).toEqual([2, 2]);
  expect(toA![0]).toBe(toB![0]);
});

// Each of them was a write of its own: a burst of small messages to a room cost five times the CPU of one to the namespace,
// and a reader that was behind reached its bound after a sixth of the messages. The first one to ask may be the only one:
// thousands of connections that are in different rooms would take up a copy each.
test('small messages leave in one write to all but the first of many members, between large ones that all share', () => {
  const { pool, of } = poolWith({ a: 'ab', b: 'ab', c: 'ab', d: 'ab d' });
  const large = 'x'.repeat(30_000);
  for (let turn = 0; turn < 2; turn++) {
    for (let n = 0; n < 400; n++) void pool.broadcastMessage('default', 'y'.repeat(100), { rooms: 'ab' });
    if (turn === 0) void pool.broadcastMessage('default', large, { rooms: 'ab' });
  }
  void pool.broadcastMessage('default', 'only d', { rooms: 'd' });
  pool.flush();
  const [toA, toB, toC, toD] = [of.a, of.b, of.c, of.d].map(({ socket }) => socket._socket.chunks);
  expect([toB!.length, toC!.length]).toEqual([3, 3]);
  expect([toA!.length, toD!.length]).toEqual([801, 802]);
  // Not by `expect`, which compares the bytes one by one.
  assert.deepEqual(toC, toB);
  for (const [chunks, more] of [
    [toA!, ''],
    [toD!, '\x81\x06only d'],
  ] as const)
    expect(Buffer.concat(chunks).toString('latin1')).toBe(Buffer.concat(toB!).toString('latin1') + more);
  expect(toC![1]).toBe(toB![1]);
});

test('finished logs do not hold on to the lists of later ones', () => {
  const log = new BroadcastLog();
  const none = log.noPicks;
  log.finish();
  expect(log.noPicks).not.toBe(none);
});
