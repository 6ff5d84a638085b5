import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type BroadcastResult, type WebSocketMessage } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { poolInMemory } from './support/pool-of.js';

test('exceptions are read once, not once for each recipient', async () => {
  // The original called `exceptions.includes(id)` for each recipient: 10,000 members with 1,000 exceptions were ten
  // million comparisons.
  const { pool, members: pairs } = poolInMemory(40);
  const ids = pairs.slice(0, 20).map(({ connection }) => connection.id);
  let reads = 0;
  const exceptions = new Proxy(ids, {
    get(target, key, receiver): unknown {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
      return Reflect.get(target, key, receiver);
    },
  });

  const broadcasts = [
    () => pool.broadcastMessage('default', 'x', exceptions),
    () => pool.broadcastJsonMessage('default', 'x', exceptions),
    () => pool.broadcastError('default', 'x', undefined, undefined, exceptions),
  ];
  for (const broadcast of broadcasts) {
    reads = 0;
    await expect(broadcast()).resolves.toMatchObject({ recipients: 20, sent: 20 });
    expect(reads).toBe(20);
  }
  expect(pairs.map(({ socket }) => socket.sent.length)).toEqual([
    ...Array<number>(20).fill(0),
    ...Array<number>(20).fill(3),
  ]);
});

test('broadcastJsonMessage and broadcastError go through an overridden broadcastMessage', async () => {
  // A pool that relays its broadcasts to other nodes in `broadcastMessage` did not relay JSON and errors.
  class Relay extends ConnectionsPool {
    readonly relayed: unknown[][] = [];

    override broadcastMessage(
      namespace: string,
      message: WebSocketMessage,
      exceptions?: Iterable<string>,
    ): Promise<BroadcastResult> {
      this.relayed.push([namespace, message, [...(exceptions ?? [])]]);
      return super.broadcastMessage(namespace, message, exceptions);
    }
  }
  const pool = new Relay();
  const { members } = poolInMemory(3, pool);
  await pool.broadcastJsonMessage('default', { a: 1 }, ['a']);
  await pool.broadcastError('default', { error: 'quota' });
  await pool.broadcastError('default', 'fatal', 4001, 'Fatal', ['b']);
  expect(pool.relayed).toEqual([
    ['default', '{"a":1}', ['a']],
    ['default', '{"error":"quota"}', []],
    ['default', 'fatal', ['b']],
  ]);
  expect(members.map(({ socket }) => socket.sent)).toEqual([
    ['{"error":"quota"}', 'fatal'],
    ['{"a":1}', '{"error":"quota"}'],
    ['{"a":1}', '{"error":"quota"}', 'fatal'],
  ]);
});

test.each(['handlers', 'an overridden send'])(
  'a fatal broadcastError closes its recipients, but no newcomer that joins while it is handed over to %s',
  async (kind) => {
    // The members were read afterwards: a connection that joined meanwhile was closed without having got the error.
    const pool = new ConnectionsPool();
    const newcomer = connectInMemory('newcomer');
    const join = (): void => void pool.newConnection(newcomer.connection);
    class Joining extends Connection<string, WebSocketMessage, MemorySocket> {
      override send(): Promise<boolean> {
        join();
        return Promise.resolve(true);
      }
    }
    const socket = new MemorySocket();
    const handlers = { send: join, close: (code?: number) => socket.end(code) };
    const handed =
      kind === 'handlers'
        ? new Connection('handed', 'default', socket, handlers)
        : new Joining('handed', 'default', socket);
    const { members } = poolInMemory(2, pool);
    await pool.newConnection(handed);
    const result = await pool.broadcastError('default', 'fatal', 4001, 'Fatal', ['b']);
    expect(result).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0, conflated: 0 });
    await nextTurn();
    expect(members[0].socket.closes).toEqual([{ code: 4001, reason: 'Fatal' }]);
    expect(members[0].socket.sent).toEqual(['fatal']);
    expect(members[1].socket.closes).toEqual([]);
    expect(handed.closed).toBe(true);
    expect(newcomer.socket.closes).toEqual([]);
    expect(newcomer.connection.closed).toBe(false);
    expect([...pool.namespace('default').keys()]).toEqual(['b', 'newcomer']);
  },
);

test('util.inspect() of a pool shows its namespaces and their sizes', async () => {
  const { pool } = poolInMemory(2);
  await pool.newConnection(connectInMemory('1', 'lobby').connection);
  expect(inspect(pool)).toBe(
    "ConnectionsPool {\n  draining: false,\n  connections: 3,\n  namespaces: Map(2) { 'default' => 2, 'lobby' => 1 }\n}",
  );
});
