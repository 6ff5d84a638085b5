import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionEvents, type PoolEvents } from '../src/index.js';
import { Loopback, type Pair } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { onTestFinished } from './support/on-test-finished.js';
import { watchUnhandled } from './support/unhandled.js';

type Member = Pair & { readonly connection: Connection };

async function poolOf(count: number, pool = new ConnectionsPool()) {
  const loopback = await Loopback.start();
  const join = async (id: string, namespace = 'default'): Promise<Member> => {
    const member = await loopback.connect(id, namespace);
    await pool.newConnection(member.connection);
    return member;
  };
  const members: Member[] = [];
  for (let n = 1; n <= count; n++) members.push(await join(`${n}`));
  return { loopback, pool, members, join };
}

/** Makes a connection slow: more waits in its socket than the pool allows. */
function slowMember(pool: ConnectionsPool, id = 'slow') {
  const member = connectInMemory(id);
  void pool.newConnection(member.connection);
  member.socket.bufferedAmount = 1_000;
  return member;
}

describe('a connection tells', () => {
  test('of messages, as text or bytes', async () => {
    const { members } = await poolOf(1);
    const { client, connection } = members[0]!;
    const seen: ConnectionEvents['message'][] = [];
    const both = new Promise<void>((resolve) => {
      connection.on('message', (...args) => {
        if (seen.push(args) === 2) resolve();
      });
    });
    client.socket.send('text');
    client.socket.send(Buffer.from([0, 255]));
    await both;
    expect(seen).toEqual([
      ['text', false],
      [Buffer.from([0, 255]), true],
    ]);
  });

  test('of its close once, with code and reason', async () => {
    const { members } = await poolOf(1);
    const { client, connection, socket } = members[0]!;
    const closes: unknown[] = [];
    connection.on('close', (code, reason) => closes.push([code, reason]));
    client.socket.close(4001, 'bye');
    await once(connection, 'close');
    connection.handleClose(4002, 'again');
    socket.emit('close', 4003, Buffer.from('again'));
    expect(closes).toEqual([[4001, 'bye']]);
  });

  test('of a pong', async () => {
    const { members } = await poolOf(1);
    const { connection, socket } = members[0]!;
    const pong = once(connection, 'pong');
    socket.ping();
    await pong;
  });

  test('of room in its socket after it was slow', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { connection, socket } = slowMember(pool);
    const drained = once(connection, 'drain');
    await expect(connection.send('x')).resolves.toBe(false);
    socket.bufferedAmount = 0;
    await drained;
    await expect(connection.send('x')).resolves.toBe(true);
  });

  test('of an error of its socket, which nobody needs to listen for', async () => {
    const { pool, members } = await poolOf(2);
    const [first, second] = members as [Member, Member];
    first.socket.emit('error', new Error('ECONNRESET'));
    expect(pool.stats().errors).toBe(1);

    const error = once(second.connection, 'error');
    second.socket.emit('error', 'not even an Error');
    const [told] = (await error) as [Error];
    expect(told).toBeInstanceOf(Error);
    expect(told.message).toContain('not even an Error');
  });
});

describe('a pool tells', () => {
  test('who joins and who leaves, with code and reason', async () => {
    const pool = new ConnectionsPool();
    const told: unknown[] = [];
    pool.on('connection', ({ id }) => told.push(['connection', id]));
    pool.on('disconnection', ({ id }, code, reason) => told.push(['disconnection', id, code, reason]));
    pool.on('emptyNamespace', (namespace) => told.push(['emptyNamespace', namespace]));
    const { members } = await poolOf(3, pool);
    const [first, second, third] = members as [Member, Member, Member];

    first.client.socket.close(4001, 'bye');
    await once(first.connection, 'close');
    await pool.removeConnection(second.connection);
    third.client.socket.terminate();
    await once(third.connection, 'close');
    await second.connection.close();
    expect(told).toEqual([
      ['connection', '1'],
      ['connection', '2'],
      ['connection', '3'],
      ['disconnection', '1', 4001, 'bye'],
      ['disconnection', '2', undefined, ''],
      ['disconnection', '3', 1006, ''],
      ['emptyNamespace', 'default'],
    ]);
  });

  test('that somebody has left when that one is found no more', async () => {
    const { pool, members } = await poolOf(1);
    const { client, connection } = members[0]!;
    const found: unknown[] = [];
    const look = (): void =>
      void found.push(pool.getConnection('default', '1'), pool.hasNamespace('default'));
    pool.on('disconnection', look);
    connection.on('close', look);
    client.socket.close();
    await once(connection, 'close');
    expect(found).toEqual([undefined, false, undefined, false]);
  });

  test('of a slow reader once per episode', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const told: PoolEvents<Connection>['slow'][] = [];
    pool.on('slow', (...args) => told.push(args));
    const { connection, socket } = slowMember(pool);
    for (let n = 0; n < 3; n++) await pool.broadcastMessage('default', 'x');
    await connection.send('x');
    expect(told).toEqual([[connection, 1_000]]);

    const drained = once(connection, 'drain');
    socket.bufferedAmount = 0;
    await drained;
    socket.bufferedAmount = 2_000;
    await pool.broadcastMessage('default', 'x');
    expect(told).toEqual([
      [connection, 1_000],
      [connection, 2_000],
    ]);
  });

  test('that a drain is done', async () => {
    const { pool } = await poolOf(2);
    const told = once(pool, 'drain');
    const report = await pool.drainConnections(10);
    expect(await told).toEqual([report]);
    expect(report).toMatchObject({ closed: 2 });
  });

  test('of errors of sockets, handlers and listeners, and whose they are', async () => {
    const pool = new ConnectionsPool();
    const told: unknown[] = [];
    pool.on('error', ({ message }, connection) => told.push([message, connection?.id]));
    const { connection, socket } = connectInMemory('socket');
    const handled = new Connection('handler', 'default', new MemorySocket(), {
      send: () => {
        throw new Error('handler failed');
      },
      close: () => undefined,
    });
    await pool.newConnection(connection);
    await pool.newConnection(handled);
    socket.emit('error', new Error('socket failed'));
    await handled.send('x');
    connection.on('message', () => {
      throw new Error('listener failed');
    });
    socket.emit('message', Buffer.from('x'), false);
    await nextTurn();
    expect(told).toEqual([
      ['socket failed', 'socket'],
      ['handler failed', 'handler'],
      ['listener failed', 'socket'],
    ]);
    expect(pool.stats().errors).toBe(3);
  });
});

/** The two ways in which a listener fails. */
const failures: readonly [title: string, fail: () => unknown][] = [
  [
    'throws',
    () => {
      throw new Error('listener failed');
    },
  ],
  ['rejects', () => Promise.reject(new Error('listener failed'))],
];

describe.each(failures)('a listener that %s', (_title, fail) => {
  /** Something failed, and the rest of the pool did not notice. */
  async function expectContained(
    run: (pool: ConnectionsPool, errors: string[]) => Promise<void>,
    options = {},
  ): Promise<void> {
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop', ...options });
    const errors: string[] = [];
    const bystander = connectInMemory('bystander', 'elsewhere');
    await pool.newConnection(bystander.connection);
    pool.on('error', ({ message }) => errors.push(message));
    await run(pool, errors);
    await settle();
    expect(reasons).toEqual([]);
    expect(errors).toContain('listener failed');
    await expect(pool.broadcastMessage('elsewhere', 'x')).resolves.toMatchObject({ sent: 1 });
    expect(bystander.socket.sent).toEqual(['x']);
  }

  const connectionEvents: readonly [
    keyof ConnectionEvents,
    (socket: MemorySocket, c: Connection) => unknown,
  ][] = [
    ['message', (socket) => socket.emit('message', Buffer.from('x'), false)],
    ['pong', (socket) => socket.emit('pong')],
    [
      'drain',
      async (socket, connection) => {
        socket.bufferedAmount = 1_000;
        await connection.send('x');
        socket.bufferedAmount = 0;
        connection.handleDrain();
      },
    ],
  ];

  test.each(connectionEvents)(
    'on %s of a connection is an error of that connection',
    async (event, cause) => {
      await expectContained(async (pool) => {
        const { connection, socket } = connectInMemory();
        await pool.newConnection(connection);
        connection.on(event, fail);
        const told = vi.fn();
        connection.on('error', told);
        await cause(socket, connection);
        await vi.waitFor(() => expect(told).toHaveBeenCalledTimes(1), 4_000);
      });
    },
  );

  test('on close of a connection is an error of it, and its close() and the registry are as ever', async () => {
    const { reasons, settle } = watchUnhandled();
    const { pool, members } = await poolOf(2);
    const { connection } = members[0]!;
    const told = vi.fn();
    connection.on('close', fail);
    connection.on('error', told);
    await connection.close();
    expect([...pool.namespace('default').keys()]).toEqual(['2']);
    await settle();
    expect(told.mock.calls).toEqual([[new Error('listener failed')]]);
    expect(reasons).toEqual([]);
  });

  test('on error of a connection is told to the pool, and not to itself again', async () => {
    // A listener that always fails was told of its own failure, failed again, and so on without end: one broken
    // logger held the event loop for ever.
    await expectContained(async (pool, errors) => {
      const { connection, socket } = connectInMemory();
      await pool.newConnection(connection);
      let calls = 0;
      connection.on('error', () => {
        // Bounded, so that this test fails instead of hanging.
        if (++calls < 100) return fail() as undefined;
        return undefined;
      });
      socket.emit('error', new Error('socket failed'));
      await vi.waitFor(() => expect(errors).toEqual(['socket failed', 'listener failed']), 4_000);
      await nextTurn();
      expect(calls).toBe(1);
    });
  });

  test('on error of a connection that is in no pool is told to nobody', async () => {
    const { reasons, settle } = watchUnhandled();
    const uncaught = vi.fn();
    process.on('uncaughtException', uncaught);
    onTestFinished(() => void process.off('uncaughtException', uncaught));
    const { connection, socket } = connectInMemory();
    connection.on('error', fail);
    expect(() => socket.emit('error', new Error('socket failed'))).not.toThrow();
    await settle();
    expect(reasons).toEqual([]);
    expect(uncaught).not.toHaveBeenCalled();
    await expect(connection.send('x')).resolves.toBe(true);
  });

  const poolEvents: readonly [
    keyof PoolEvents<Connection>,
    (pool: ConnectionsPool, connection: Connection) => Promise<unknown>,
  ][] = [
    ['connection', (pool) => pool.newConnection(connectInMemory('2').connection)],
    ['disconnection', (pool, connection) => pool.removeConnection(connection)],
    ['emptyNamespace', (pool, connection) => pool.removeConnection(connection)],
    ['slow', (pool) => slowMember(pool).connection.send('x')],
  ];

  test.each(poolEvents)('on %s of a pool is an error of the pool', async (event, cause) => {
    await expectContained(async (pool) => {
      const { connection } = connectInMemory();
      await pool.newConnection(connection);
      pool.on(event, fail);
      await cause(pool, connection);
    });
  });

  test('on drain of a pool changes nothing of the drain', async () => {
    const { reasons, settle } = watchUnhandled();
    const { pool } = await poolOf(1);
    pool.on('drain', fail);
    await expect(pool.drainConnections(10)).resolves.toMatchObject({ closed: 1 });
    await settle();
    expect(reasons).toEqual([]);
  });

  test('on error of a pool is counted and told to nobody', async () => {
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    let calls = 0;
    pool.on('error', () => {
      if (++calls < 100) return fail() as undefined;
      return undefined;
    });
    socket.emit('error', new Error('socket failed'));
    await settle();
    expect(calls).toBe(1);
    expect(pool.stats().errors).toBe(2);
    expect(reasons).toEqual([]);
    await expect(connection.send('x')).resolves.toBe(true);
  });
});

/** What a listener may do to the pool that calls it. */
interface Reentry {
  readonly act: (pool: ConnectionsPool, spare: Connection) => Promise<unknown>;
  /** Ids of the namespace afterwards, of those that were there before. */
  readonly stay: (ids: string[]) => string[];
  readonly received: string[];
}

const reentries: Record<string, Reentry> = {
  closeAll: { act: (pool) => pool.closeAll('default', 4000), stay: () => [], received: [] },
  removeConnection: {
    act: (pool) => pool.removeConnection(pool.getConnection('default', '2')!),
    stay: (ids) => ids.filter((id) => id !== '2'),
    received: [],
  },
  newConnection: {
    act: (pool, spare) => pool.newConnection(spare),
    stay: (ids) => [...ids, 'spare'],
    received: [],
  },
  broadcast: {
    act: (pool) => pool.broadcastMessage('default', 'from within'),
    stay: (ids) => ids,
    received: ['from within'],
  },
};

describe.each(Object.entries(reentries))('%s may be called', (_name, { act, stay, received }) => {
  interface Cause {
    readonly firstStays: boolean;
    readonly cause: (pool: ConnectionsPool, first: Member, listener: () => void) => void;
  }
  const events: Record<string, Cause> = {
    message: {
      firstStays: true,
      cause: (_pool, { client, connection }, listener) => {
        connection.once('message', listener);
        client.socket.send('x');
      },
    },
    close: {
      firstStays: false,
      cause: (_pool, { client, connection }, listener) => {
        connection.once('close', listener);
        client.socket.close();
      },
    },
    'disconnection of the pool': {
      firstStays: false,
      cause: (pool, { client }, listener) => {
        pool.once('disconnection', listener);
        client.socket.close();
      },
    },
  };

  test.each(Object.entries(events))('from within %s', async (_event, { firstStays, cause }) => {
    const { loopback, pool, members, join } = await poolOf(3);
    const [first, , third] = members as [Member, Member, Member];
    const bystander = await join('1', 'elsewhere');
    const spare = await loopback.connect('spare');
    await new Promise<void>((resolve, reject) => {
      cause(pool, first, () => {
        act(pool, spare.connection).then(() => resolve(), reject);
      });
    });
    const before = firstStays ? ['1', '2', '3'] : ['2', '3'];
    expect([...pool.namespace('default').keys()]).toEqual(stay(before));
    expect([...pool.namespace('elsewhere').keys()]).toEqual(['1']);
    if (stay(before).includes('3')) expect(await third.client.exactly(received.length)).toEqual(received);
    expect(await bystander.client.exactly(0)).toEqual([]);
    expect(pool.stats().connections).toBe(stay(before).length + 1);
  });

  test('from within onEmptyNamespace', async () => {
    const { loopback, pool, members, join } = await poolOf(3);
    const third = members[2]!;
    const last = await join('1', 'emptied');
    const spare = await loopback.connect('spare');
    await pool.removeConnection(last.connection, () => act(pool, spare.connection));
    expect([...pool.namespace('default').keys()]).toEqual(stay(['1', '2', '3']));
    if (stay(['3']).includes('3')) expect(await third.client.exactly(received.length)).toEqual(received);
    expect(pool.hasNamespace('emptied')).toBe(false);
  });
});

describe('onEmptyNamespace is called', () => {
  test('once for the last that is removed', async () => {
    const { pool, members } = await poolOf(3);
    const onEmpty = vi.fn();
    for (const { connection } of members) {
      expect(onEmpty).not.toHaveBeenCalled();
      await pool.removeConnection(connection, onEmpty);
    }
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  test('once when the last is removed twice at the same time', async () => {
    const { pool, members } = await poolOf(1);
    const onEmpty = vi.fn(() => nextTurn());
    const { connection } = members[0]!;
    await Promise.all([
      pool.removeConnection(connection, onEmpty),
      pool.removeConnection(connection, onEmpty),
    ]);
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  /** The familiar idioms: the pool removes by itself, but the callback is still owed. */
  const idioms: readonly [
    title: string,
    listen: (member: Member, remove: () => Promise<void>) => Promise<unknown>,
  ][] = [
    [
      'ws.on("close")',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => socket.on('close', () => void remove().then(resolve))),
    ],
    [
      'ws.on("close"), ahead of the listener of the library',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => socket.prependListener('close', () => void remove().then(resolve))),
    ],
    [
      'connection.on("close")',
      ({ connection }, remove) =>
        new Promise<void>((resolve) => connection.on('close', () => void remove().then(resolve))),
    ],
    [
      'a listener that waits for something first',
      ({ socket }, remove) =>
        new Promise<void>((resolve) => {
          socket.on('close', () => void nextTurn().then(remove).then(resolve));
        }),
    ],
  ];
  const endings: readonly [title: string, end: (pool: ConnectionsPool, members: Member[]) => unknown][] = [
    ['the clients close', (_pool, members) => members.forEach(({ client }) => client.socket.close())],
    ['the clients vanish', (_pool, members) => members.forEach(({ client }) => client.socket.terminate())],
    ['closeAll', (pool) => pool.closeAll('default')],
    [
      'the server terminates them',
      (_pool, members) => members.forEach(({ connection }) => connection.terminate()),
    ],
    ['a drain', (pool) => pool.drainConnections(10)],
  ];
  const matrix = idioms.flatMap(([idiom, listen]) =>
    endings.map(([ending, end]) => [idiom, ending, listen, end] as const),
  );

  test.each(matrix)('once from %s, ended by %s', async (_idiom, _ending, listen, end) => {
    const { pool, members } = await poolOf(3);
    const onEmpty = vi.fn();
    const removed = members.map((member) =>
      listen(member, () => pool.removeConnection(member.connection, onEmpty)),
    );
    void end(pool, members);
    await Promise.all(removed);
    expect(onEmpty).toHaveBeenCalledTimes(1);
    expect(pool.hasNamespace('default')).toBe(false);
    // Nobody is owed anything any more.
    for (const { connection } of members) await pool.removeConnection(connection, onEmpty);
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  test('for a namespace that fills and empties again, once each time', async () => {
    const pool = new ConnectionsPool();
    const onEmpty = vi.fn();
    for (let time = 1; time <= 3; time++) {
      const { connection } = connectInMemory();
      await pool.newConnection(connection);
      await pool.removeConnection(connection, onEmpty);
      expect(onEmpty).toHaveBeenCalledTimes(time);
    }
  });

  test('and awaited, while whoever joins meanwhile stays', async () => {
    // The namespace was deleted when the callback was done: whoever had joined during it was lost.
    const { pool, members, loopback } = await poolOf(1);
    const late = await loopback.connect('late');
    let release: () => void = () => undefined;
    const onEmpty = vi.fn(() => new Promise<void>((resolve) => (release = resolve)));
    const removed = pool.removeConnection(members[0]!.connection, onEmpty);
    expect(onEmpty).toHaveBeenCalledTimes(1);
    await pool.newConnection(late.connection);
    release();
    await removed;
    expect(pool.getConnection('default', 'late')).toBe(late.connection);
    await expect(pool.broadcastMessage('default', 'x')).resolves.toMatchObject({ sent: 1 });
    expect(onEmpty).toHaveBeenCalledTimes(1);
  });

  test('once even when it throws or rejects, and its error reaches the caller', async () => {
    for (const fail of [
      () => {
        throw new Error('callback failed');
      },
      () => Promise.reject(new Error('callback failed')),
    ]) {
      const { connection } = connectInMemory();
      const pool = new ConnectionsPool();
      await pool.newConnection(connection);
      const onEmpty = vi.fn(fail);
      await expect(pool.removeConnection(connection, onEmpty)).rejects.toThrow('callback failed');
      await pool.removeConnection(connection, onEmpty);
      expect(onEmpty).toHaveBeenCalledTimes(1);
      expect(pool.hasNamespace('default')).toBe(false);
      await pool.newConnection(connectInMemory('next').connection);
      expect(pool.stats().connections).toBe(1);
    }
  });
});

describe('onEmptyNamespace is not called', () => {
  test('for a late claim after somebody has joined', async () => {
    const { pool, members, join } = await poolOf(1);
    const { client, connection } = members[0]!;
    const onEmpty = vi.fn();
    client.socket.close();
    await once(connection, 'close');
    await join('next');
    await pool.removeConnection(connection, onEmpty);
    expect(onEmpty).not.toHaveBeenCalled();
    expect(pool.hasNamespace('default')).toBe(true);
  });

  test('for a connection that was replaced', async () => {
    const { pool, members, join } = await poolOf(1, new ConnectionsPool({ onDuplicate: 'replace' }));
    const { client, connection, socket } = members[0]!;
    const onEmpty = vi.fn();
    const removed = new Promise<void>((resolve) => {
      socket.on('close', () => void pool.removeConnection(connection, onEmpty).then(resolve));
    });
    await join('1');
    await client.closed;
    await removed;
    expect(onEmpty).not.toHaveBeenCalled();
  });

  test('for a connection of another pool or of none', async () => {
    const [one, other] = [new ConnectionsPool(), new ConnectionsPool()];
    const { connection } = connectInMemory();
    const onEmpty = vi.fn();
    await one.newConnection(connection);
    await other.removeConnection(connection, onEmpty);
    await other.removeConnection(connectInMemory().connection, onEmpty);
    expect(onEmpty).not.toHaveBeenCalled();
    expect(one.stats().connections).toBe(1);
  });

  test('when a listener of the disconnection has somebody join again', async () => {
    // A successor is put in place of who left; what the callback tore down was what the successor used.
    const pool = new ConnectionsPool();
    const { connection } = connectInMemory();
    const onEmpty = vi.fn();
    const emptied = vi.fn();
    await pool.newConnection(connection);
    pool.once('disconnection', () => void pool.newConnection(connectInMemory('next').connection));
    pool.on('emptyNamespace', emptied);
    await pool.removeConnection(connection, onEmpty);
    expect(pool.hasNamespace('default')).toBe(true);
    expect(emptied).not.toHaveBeenCalled();
    expect(onEmpty).not.toHaveBeenCalled();
  });
});
