import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { Loopback, type Client } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { Random } from './support/random.js';

describe('identity', () => {
  test('ids of different types are different ids', async () => {
    const pool = new ConnectionsPool<string, Connection<string | number | bigint, string, MemorySocket>>();
    const ids = ['1', 1, 1n, '', 0];
    for (const id of ids) await pool.newConnection(new Connection(id, 'a', new MemorySocket()));
    expect([...pool.namespace('a').keys()]).toEqual(ids);
    for (const id of ids) expect(pool.getConnection('a', id)?.id).toBe(id);
    await expect(pool.broadcastMessage('a', 'x', [1, ''])).resolves.toMatchObject({ recipients: 3 });
  });

  test('the same id in another namespace is another connection', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = [connectInMemory('1', 'a'), connectInMemory('1', 'b')];
    await pool.newConnection(a.connection);
    await pool.newConnection(b.connection);
    await pool.send('a', '1', 'for a');
    await pool.broadcastMessage('b', 'for b');
    await pool.closeAll('a');
    expect([a.socket.sent, b.socket.sent]).toEqual([['for a'], ['for b']]);
    expect(pool.getConnection('b', '1')).toBe(b.connection);
    expect(pool.hasNamespace('a')).toBe(false);
  });

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

  test('the maps that the pool hands out are live', async () => {
    const pool = new ConnectionsPool();
    const { connections } = pool;
    const { connection, socket } = connectInMemory('1', 'a');
    await pool.newConnection(connection);
    const members = pool.namespace('a');
    expect(connections.get('a')).toBe(members);
    await pool.newConnection(connectInMemory('2', 'a').connection);
    expect([...members.keys()]).toEqual(['1', '2']);
    socket.end();
    expect([...members.keys()]).toEqual(['2']);
    expect([...connections.keys()]).toEqual(['a']);
  });
});

describe('a connection that is in another pool', () => {
  test('loses nothing when it is removed from one that it is not in', async () => {
    // Also where that pool has a member of the same namespace and id, which stays.
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
});

describe('a connection that is removed while it is being removed', () => {
  // What waits for it is delivered first, to handlers that may remove it as well.
  test.each([
    ['alone', []],
    ['beside another', ['2']],
  ])('%s in its namespace, leaves once', async (_, others) => {
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
  });
});

describe('a refusal tells who or what was refused, and why:', () => {
  test('a connection of another pool', async () => {
    const { connection } = connectInMemory('1');
    await new ConnectionsPool().newConnection(connection);
    await expect(new ConnectionsPool().newConnection(connection)).rejects.toMatchObject({
      code: 'ERR_CONNECTION_IN_USE',
      message: 'Connection "1" of namespace "default" is in another pool',
    });
    expect(connection.closed).toBe(false);
  });

  test('a newcomer of a pool that drains, who is told the reason too', async () => {
    const pool = new ConnectionsPool();
    await pool.drainConnections();
    const { connection, socket } = connectInMemory('1');
    await expect(pool.newConnection(connection)).rejects.toMatchObject({
      code: 'ERR_POOL_DRAINING',
      message: 'The pool is draining: Connection "1" of namespace "default" was refused',
    });
    expect(socket.closes).toEqual([{ code: 1013, reason: 'Draining' }]);
  });

  test('a second drain beside the first', async () => {
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    const drained = pool.drainConnections();
    await expect(pool.drainConnections()).rejects.toMatchObject({
      code: 'ERR_POOL_DRAINING',
      message: 'The pool is draining already',
    });
    socket.end();
    await drained;
  });
});

describe("onDuplicate 'reject'", () => {
  test('leaves the holder in place, and the other one open and outside', async () => {
    const pool = new ConnectionsPool();
    const [holder, other] = [connectInMemory('1'), connectInMemory('1')];
    await pool.newConnection(holder.connection);
    const refused = pool.newConnection(other.connection);
    await expect(refused).rejects.toThrow('Connection "1" of namespace "default"');
    await pool.broadcastMessage('default', 'x');
    expect([holder.socket.sent, other.socket.sent]).toEqual([['x'], []]);
    expect(other.connection.closed).toBe(false);
    expect(pool.stats()).toMatchObject({ connections: 1, refused: 1 });

    // Nor does the end of the one outside touch the one inside.
    await other.connection.close();
    await pool.removeConnection(other.connection);
    expect(pool.getConnection('default', '1')).toBe(holder.connection);
  });

  test('lets the id be taken when its holder has left', async () => {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const [holder, next] = [await loopback.connect('1'), await loopback.connect('1')];
    await pool.newConnection(holder.connection);
    await holder.connection.close();
    await pool.newConnection(next.connection);
    expect(pool.getConnection('default', '1')).toBe(next.connection);
  });
});

describe("onDuplicate 'replace'", () => {
  test('has no instant without the id or the namespace', async () => {
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

  test('gives the old one what was broadcast before, and the new one what comes after', async () => {
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

  /** Ways in which the holder can be closing already, and what was said to its peer. */
  const closings: readonly [title: string, begin: (holder: Known) => void, closes: object[]][] = [
    ['we', ({ connection }) => void connection.close(4000, 'bye'), [{ code: 4000, reason: 'bye' }]],
    ['its peer', ({ socket }) => (socket.readyState = 2), []],
  ];

  test.each(closings)('closes nobody again whom %s had begun to close', async (_, begin, closes) => {
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
  });

  test('replaces as often as a client comes back', async () => {
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
});

test('a connection that was terminated and has not closed yet is no recipient, nor an exception', async () => {
  // It had left the fan-out and was still subtracted as an exception: `recipients` said 0 where `sent` said 1.
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
  });
  await gone.client.closed;
});

test('a registry that was full is empty afterwards', async () => {
  const pool = new ConnectionsPool();
  const pairs = Array.from({ length: 1_000 }, (_, n) =>
    connectInMemory(`${n % 10}`, `namespace ${(n / 10) | 0}`),
  );
  for (const { connection } of pairs) await pool.newConnection(connection);
  expect(pool.stats()).toMatchObject({ connections: 1_000, namespaces: 100 });
  for (const { socket } of pairs) socket.end();
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  expect(pool.connections.size).toBe(0);
});

type Policy = 'reject' | 'replace';

/** What a pool must hold, written as plainly as possible. */
class Model {
  readonly members = new Map<string, Map<string, Connection>>();
  /** What the pool must have told, in order. */
  readonly told: string[] = [];
  readonly #policy: Policy;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  has({ namespace, id }: Connection, connection?: Connection): boolean {
    const holder = this.members.get(namespace)?.get(id);
    return connection === undefined ? holder !== undefined : holder === connection;
  }

  /** `false`: the pool must refuse. */
  join(connection: Connection): boolean {
    const { namespace, id } = connection;
    const holder = this.members.get(namespace)?.get(id);
    if (holder === connection) return true;
    const holderIsLive = holder !== undefined && !holder.closed;
    if (holderIsLive && this.#policy === 'reject') return false;
    if (connection.closed) return true;
    if (!this.members.has(namespace)) this.members.set(namespace, new Map());
    this.members.get(namespace)?.set(id, connection);
    if (holder !== undefined) this.told.push(`- ${namespace}/${id} ${holderIsLive ? 4409 : undefined}`);
    this.told.push(`+ ${namespace}/${id}`);
    return true;
  }

  /** `true`: this was the last one of its namespace. */
  leave(connection: Connection, code: number | undefined): boolean {
    const { namespace, id } = connection;
    if (!this.has(connection, connection)) return false;
    const members = this.members.get(namespace) as Map<string, Connection>;
    members.delete(id);
    this.told.push(`- ${namespace}/${id} ${code}`);
    if (members.size > 0) return false;
    this.members.delete(namespace);
    this.told.push(`0 ${namespace}`);
    return true;
  }

  all(): Connection[] {
    return [...this.members.values()].flatMap((members) => [...members.values()]);
  }
}

/** What the pool tells, in the words of the model. */
function record(pool: ConnectionsPool): string[] {
  const told: string[] = [];
  pool.on('connection', ({ namespace, id }) => told.push(`+ ${namespace}/${id}`));
  pool.on('disconnection', ({ namespace, id }, code) => told.push(`- ${namespace}/${id} ${code}`));
  pool.on('emptyNamespace', (namespace) => told.push(`0 ${namespace}`));
  return told;
}

function expectSame(pool: ConnectionsPool, model: Model): void {
  const shape = (members: ReadonlyMap<string, ReadonlyMap<string, Connection>>): unknown =>
    [...members].map(([namespace, held]) => [namespace, [...held.keys()]]);
  expect(shape(pool.connections)).toEqual(shape(model.members));
  for (const connection of model.all()) {
    // Not `toBe`, which would print two whole connections.
    expect(pool.getConnection(connection.namespace, connection.id) === connection).toBe(true);
  }
  expect(pool.stats()).toMatchObject({ connections: model.all().length, namespaces: model.members.size });
}

const NAMESPACES = ['a', 'b', '__proto__'];
const IDS = ['1', '2', '3', 'constructor'];
const policies: readonly Policy[] = ['reject', 'replace'];

interface Known {
  readonly connection: Connection;
  readonly socket: MemorySocket;
}

describe.each(policies)("a random life of a registry with onDuplicate '%s'", (onDuplicate) => {
  test.each(Array.from({ length: 10 }, (_, seed) => seed + 1))(
    'on sockets in memory, seed %i',
    async (seed) => {
      const random = new Random(seed);
      const pool = new ConnectionsPool({ onDuplicate });
      const model = new Model(onDuplicate);
      const told = record(pool);
      const known: Known[] = [];

      const join = async (connection: Connection): Promise<void> => {
        const isTaken = model.join(connection);
        const outcome = pool.newConnection(connection);
        if (isTaken) await expect(outcome).resolves.toBeUndefined();
        else await expect(outcome).rejects.toMatchObject({ code: 'ERR_DUPLICATE_CONNECTION' });
      };
      const newcomer = async (): Promise<void> => {
        // Half of the peers answer a close frame; the others stay, closing, until they end by themselves.
        const socket = new MemorySocket(random.below(2) === 0);
        const pair = connectInMemory(random.pick(IDS), random.pick(NAMESPACES), socket);
        // Told by the library after the pool has acted: exactly then the model must lose it.
        socket.prependListener('close', (code: number) => void model.leave(pair.connection, code));
        known.push(pair);
        await join(pair.connection);
      };
      const operations: ((one: Known) => Promise<void>)[] = [
        newcomer,
        newcomer,
        newcomer,
        ({ connection }) => join(connection),
        async ({ connection }) => {
          let calls = 0;
          const hasEmptied = model.leave(connection, undefined);
          const wasMember =
            hasEmptied || pool.getConnection(connection.namespace, connection.id) === connection;
          const removed = pool.removeConnection(connection, () => calls++);
          // At once, for whoever reads the registry next.
          expectSame(pool, model);
          await removed;
          // Of one that has left by itself, the callback may still be owed.
          if (wasMember || !connection.closed) expect(calls).toBe(hasEmptied ? 1 : 0);
        },
        async ({ socket }) => {
          socket.end(4001, 'from the client');
          await nextTurn();
        },
        async ({ connection }) => {
          void connection.close(4002);
          await nextTurn();
        },
        async ({ connection }) => {
          connection.terminate();
          await nextTurn();
        },
        async () => {
          void pool.closeAll(random.pick(NAMESPACES), 4003);
          await nextTurn();
        },
      ];

      await newcomer();
      for (let step = 0; step < 120; step++) {
        await random.pick(operations)(random.pick(known));
        expectSame(pool, model);
        expect(told.splice(0)).toEqual(model.told.splice(0));
        const namespace = random.pick(NAMESPACES);
        const members = [...(model.members.get(namespace)?.values() ?? [])];
        const live = members.filter(({ closed }) => !closed);
        const { recipients, sent, failed } = await pool.broadcastMessage(namespace, `${step}`);
        expect({ recipients, sent, failed }).toEqual({
          recipients: members.length,
          sent: live.length,
          failed: members.length - live.length,
        });
        const hasIt = ({ socket }: Known): boolean => socket.sent.at(-1) === `${step}`;
        expect(known.every((one) => hasIt(one) === live.includes(one.connection))).toBe(true);
      }
      for (const { socket } of known) socket.end();
      expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
    },
  );

  test('on real sockets', async () => {
    const random = new Random(7);
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ onDuplicate });
    const model = new Model(onDuplicate);
    const told = record(pool);
    const clients = new Map<Connection, Client>();

    const newcomer = async (): Promise<void> => {
      const { client, connection } = await loopback.connect(random.pick(IDS), random.pick(NAMESPACES));
      clients.set(connection, client);
      connection.once('close', (code) => void model.leave(connection, code));
      if (model.join(connection)) await pool.newConnection(connection);
      else await expect(pool.newConnection(connection)).rejects.toThrow('the id is taken');
    };
    const ended = async (connection: Connection, end: () => unknown): Promise<void> => {
      if (connection.closed) return;
      const closed = once(connection, 'close');
      end();
      await closed;
    };
    const operations: ((one: Connection) => Promise<void>)[] = [
      newcomer,
      newcomer,
      async (one) => {
        model.leave(one, undefined);
        await pool.removeConnection(one);
      },
      (one) => ended(one, () => clients.get(one)?.socket.close(4001)),
      (one) => ended(one, () => clients.get(one)?.socket.terminate()),
      (one) => ended(one, () => void one.close(4002)),
      (one) => ended(one, () => one.terminate()),
    ];

    await newcomer();
    for (let step = 0; step < 80; step++) {
      await random.pick(operations)(random.pick([...clients.keys()]));
      expectSame(pool, model);
      expect(told.splice(0)).toEqual(model.told.splice(0));
    }
    // Who is a member gets it, and nobody else does.
    for (const namespace of NAMESPACES) await pool.broadcastMessage(namespace, `to ${namespace}`);
    for (const [connection, client] of clients) {
      if (connection.closed) expect(client.inbox).toEqual([]);
      else if (model.has(connection, connection)) {
        expect(await client.exactly(1)).toEqual([`to ${connection.namespace}`]);
      } else expect(await client.exactly(0)).toEqual([]);
    }
  });
});
