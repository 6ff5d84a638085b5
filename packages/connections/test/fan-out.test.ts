import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ServerOptions } from 'ws';
import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '../src/index.js';
import {
  endTurn,
  member,
  members,
  spySystemWrites,
  spyWrites,
  tcpOf,
  type Member,
} from './support/engine.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { isCompressed, WireClient } from './support/wire.js';

const SHARED: ServerOptions = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0 };
const ONE_FAILED = { recipients: 1, sent: 0, dropped: 0, failed: 1 };
const LARGE = 'compressible '.repeat(2_000);

interface Mode {
  readonly server: ServerOptions;
  readonly pool: ConnectionsPoolOptions;
}

const modes: Record<string, Mode> = {
  plain: { server: {}, pool: {} },
  'shared compression': { server: SHARED, pool: {} },
  'a shared history': {
    server: { perMessageDeflate: { threshold: 0 } },
    pool: { compression: { history: true } },
  },
};

const text = (serial: number): string => `message ${serial}, not the shortest one`;

describe('one buffer', () => {
  describe.each(Object.entries(modes))('with %s', (_, { server, pool: options }) => {
    test.each([
      ['short messages', [text(1), text(2)]],
      ['a large one among them', [text(1), LARGE, text(2)]],
    ])('is what all members are written: %s', async (_title, texts) => {
      const pool = new ConnectionsPool(options);
      const all = await members(pool, await Loopback.start(server), 3);
      const writes = all.map(({ socket }) => spyWrites(socket));
      const results = texts.map((message) => pool.broadcastMessage('default', message));
      await Promise.all(results);
      expect(writes.map(({ length }) => length)).toEqual([1, 1, 1]);
      expect(writes[1]?.[0]).toBe(writes[0]?.[0]);
      expect(writes[2]?.[0]).toBe(writes[0]?.[0]);
      for (const { client } of all) expect(await client.exactly(texts.length)).toEqual(texts);
    });
  });

  test.each([
    ['plain', {}],
    ['shared compression', SHARED],
  ])('is what those who get a part of a turn are written a part of (%s)', async (_, server) => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start(server);
    const [a, b] = (await members(pool, loopback, 2)) as [Member, Member];
    const late = await loopback.connect('late');
    const [ofA, ofB, ofLate] = [a, b, late].map(({ socket }) => spyWrites(socket)) as [
      Buffer[],
      Buffer[],
      Buffer[],
    ];
    void pool.broadcastMessage('default', text(1), ['b']);
    void pool.newConnection(late.connection);
    void pool.broadcastMessage('default', text(2));
    void pool.broadcastMessage('default', text(3));
    await endTurn();
    expect([ofA, ofB, ofLate].map(({ length }) => length)).toEqual([1, 1, 1]);
    expect(ofB[0]?.buffer).toBe(ofA[0]?.buffer);
    expect(ofLate[0]?.buffer).toBe(ofA[0]?.buffer);
    expect(await a.client.exactly(3)).toEqual([text(1), text(2), text(3)]);
    for (const { client } of [b, late]) expect(await client.exactly(2)).toEqual([text(2), text(3)]);
  });

  test('of more than 64 KiB goes out behind its head, and nothing empty behind it', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const writes = spyWrites(socket);
    await pool.broadcastMessage('default', Buffer.alloc(100_000));
    expect(writes.map(({ length }) => length)).toEqual([10, 100_000]);
    await client.exactly(1);
  });
});

describe('what a connection gets besides', () => {
  test('is copied into one write with the broadcasts around it while it is small', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const writes = spyWrites(socket);
    void pool.broadcastMessage('default', '1');
    void connection.send('private');
    void pool.broadcastMessage('default', '2');
    await endTurn();
    expect(writes).toHaveLength(1);
    expect(pool.stats()).toMatchObject({ writes: 1, messagesSent: 3, bytesSent: 3 + 9 + 3 });
    expect(await client.exactly(3)).toEqual(['1', 'private', '2']);
  });

  test('is not copied when it is larger, and still costs one system call', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const [writes, system] = [spyWrites(socket), spySystemWrites(socket)];
    void pool.broadcastMessage('default', '1');
    void connection.send('x'.repeat(5_000));
    void pool.broadcastMessage('default', '2');
    await endTurn();
    expect([writes.length, system.count]).toEqual([3, 1]);
    expect(await client.exactly(3)).toEqual(['1', 'x'.repeat(5_000), '2']);
  });

  test('fails with the broadcasts around it when the write throws, and nothing is written behind it', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const write = vi.spyOn(tcpOf(socket), 'write').mockImplementation(() => {
      throw new Error('broken');
    });
    const errors: string[] = [];
    connection.on('error', ({ message }) => errors.push(message));
    const results = [pool.broadcastMessage('default', '1'), connection.send('private')];
    pool.flush();
    results.push(connection.send('behind'));
    expect(await Promise.all(results)).toEqual([ONE_FAILED, false, false]);
    expect(write).toHaveBeenCalledTimes(1);
    expect((await client.closed).code).toBe(1006);
    expect(errors).toEqual(['broken', 'broken']);
    expect(pool.stats()).toMatchObject({ connections: 0, messagesSent: 0 });
  });
});

describe('the end of a turn', () => {
  test('is asked for once, however many namespaces and messages it has', async () => {
    const pool = new ConnectionsPool();
    for (let i = 0; i < 10; i++) await pool.newConnection(connectInMemory('1', `n${i}`).connection);
    const asked = vi.spyOn(globalThis, 'setImmediate');
    onTestFinished(() => asked.mockRestore());
    for (let i = 0; i < 100; i++) void pool.broadcastMessage(`n${i % 10}`, 'x');
    expect(asked).toHaveBeenCalledTimes(1);
    await endTurn();
    void pool.broadcastMessage('n0', 'y');
    expect(asked).toHaveBeenCalledTimes(2);
  });

  test('writes nothing more when a burst has gone out before', async () => {
    const pool = new ConnectionsPool();
    const [{ client }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    void pool.broadcastMessage('default', 'x'.repeat(1024 * 1024));
    const { writes } = pool.stats();
    expect(writes).toBe(1);
    await endTurn();
    expect(pool.stats().writes).toBe(1);
    await client.exactly(1);
  });
});

describe('members who have left', () => {
  test('need no message to be of a kind that a WebSocket takes', async () => {
    const pool = new ConnectionsPool<unknown>();
    const taken: unknown[] = [];
    const handlers = { send: (message: unknown) => void taken.push(message), close: () => undefined };
    const strict = [1, 2].map((id) => new Connection<string, unknown>(`${id}`, 'n', new MemorySocket()));
    for (const connection of strict) await pool.newConnection(connection);
    await pool.newConnection(new Connection<string, unknown>('3', 'n', new MemorySocket(), handlers));
    for (const connection of strict) {
      await expect(pool.broadcastMessage('n', { any: 'thing' })).rejects.toThrow(TypeError);
      await pool.removeConnection(connection);
    }
    expect(await pool.broadcastMessage('n', { any: 'thing' })).toEqual(ONE_SENT);
    expect(taken).toEqual([{ any: 'thing' }]);
  });

  test('with handlers leave the others as strict as they were', async () => {
    const pool = new ConnectionsPool<unknown>();
    const handled = new Connection<string, unknown>('1', 'n', new MemorySocket(), {
      send: () => undefined,
      close: () => undefined,
    });
    await pool.newConnection(new Connection<string, unknown>('2', 'n', new MemorySocket()));
    await pool.newConnection(handled);
    await pool.removeConnection(handled);
    await expect(pool.broadcastMessage('n', { any: 'thing' })).rejects.toThrow(TypeError);
  });

  test.each(Object.entries(modes).slice(1))('are not compressed for (%s)', async (_, mode) => {
    const pool = new ConnectionsPool(mode.pool);
    const loopback = await Loopback.start(mode.server);
    const join = (id: string, serverMaxWindowBits: number): Promise<Member> =>
      member(pool, loopback, id, { perMessageDeflate: { serverMaxWindowBits } });
    const stays = await join('stays', 15);
    const leavers = [await join('same', 15), await join('10', 10), await join('12', 12)];
    await pool.broadcastMessage('default', text(1));
    expect(pool.stats().compressions).toBe(3);
    for (const { connection } of leavers) await pool.removeConnection(connection);
    await pool.broadcastMessage('default', LARGE);
    expect(pool.stats().compressions).toBe(4);
    await pool.removeConnection(stays.connection);
    expect(await stays.client.exactly(2)).toEqual([text(1), LARGE]);
  });

  test('leave a large message compressed for those who stay', async () => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start(SHARED);
    const wire = await WireClient.connect(loopback, 'permessage-deflate; server_no_context_takeover');
    await pool.newConnection(new Connection('stays', 'default', wire.socket));
    const { connection } = await member(pool, loopback, 'leaves');
    await pool.removeConnection(connection);
    await pool.broadcastMessage('default', LARGE);
    expect(isCompressed(await wire.frame())).toBe(true);
  });
});

test('bufferedAmount is what waits for this connection, exceptions left out', async () => {
  const pool = new ConnectionsPool();
  const [a, b] = [connectInMemory('a').connection, connectInMemory('b').connection];
  for (const connection of [a, b]) await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1', ['a']);
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([0, 3]);
  void pool.broadcastMessage('default', '22');
  void pool.broadcastMessage('default', '333', ['b']);
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([4 + 5, 3 + 4]);
  void b.send('4444');
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([4 + 5, 3 + 4 + 6]);
  await endTurn();
  expect([a.bufferedAmount, b.bufferedAmount]).toEqual([0, 0]);
});

class Overridden extends Connection {
  readonly taken: unknown[] = [];

  override async send(message: WebSocketMessage): Promise<boolean> {
    this.taken.push(message);
    return super.send(message);
  }
}

describe('whatever takes the messages', () => {
  const takers: Record<string, () => Connection> = {
    'a socket': () => connectInMemory('1').connection,
    handlers: () =>
      new Connection('1', 'default', new MemorySocket(), { send: () => undefined, close: () => undefined }),
    'an overridden send': () => new Overridden('1', 'default', new MemorySocket()),
  };

  test.each(Object.entries(takers))('%s is counted once for each of them', async (_, newConnection) => {
    const pool = new ConnectionsPool();
    const connection = newConnection();
    await pool.newConnection(connection);
    expect(await pool.broadcastMessage('default', '12')).toEqual(ONE_SENT);
    expect(await connection.send('345')).toBe(true);
    expect(pool.stats()).toMatchObject({ messagesSent: 2, bytesSent: 4 + 5 });
  });

  test('a handler that answers false has not sent the broadcast', async () => {
    const pool = new ConnectionsPool();
    const handlers = { send: (): boolean => false, close: () => undefined };
    await pool.newConnection(new Connection('1', 'default', new MemorySocket(), handlers));
    expect(await pool.broadcastMessage('default', 'x')).toEqual(ONE_FAILED);
  });

  test.each([null, undefined, 0, 'ok', { then: 'not a function' }])(
    'a handler that answers %o has sent it',
    async (answer) => {
      const pool = new ConnectionsPool();
      const handlers = { send: () => answer, close: () => undefined };
      await pool.newConnection(new Connection('1', 'default', new MemorySocket(), handlers));
      expect(await pool.broadcastMessage('default', 'x')).toEqual(ONE_SENT);
    },
  );

  test('handlers over an object that tells no state get nothing behind their close', async () => {
    const pool = new ConnectionsPool();
    const got: unknown[] = [];
    const socket = { send: () => undefined, close: () => undefined };
    let settle: () => void = () => undefined;
    const connection = new Connection('1', 'default', socket, {
      send: (message) => void got.push(message),
      close: () => {
        got.push('close');
        return new Promise<void>((resolve) => (settle = resolve));
      },
    });
    await pool.newConnection(connection);
    const results = [pool.broadcastMessage('default', '1')];
    const closed = connection.close();
    results.push(pool.broadcastMessage('default', '2'));
    expect(await Promise.all(results)).toEqual([ONE_SENT, ONE_FAILED]);
    settle();
    await closed;
    expect(got).toEqual(['1', 'close']);
  });

  test('an overridden send gets nothing behind its close', async () => {
    const pool = new ConnectionsPool();
    const connection = new Overridden('1', 'default', new MemorySocket(false));
    await pool.newConnection(connection);
    void connection.close();
    expect(await pool.broadcastMessage('default', 'x')).toEqual(ONE_FAILED);
    expect(connection.taken).toEqual([]);
  });

  test('a socket that its peer has begun to close gets nothing more', async () => {
    const pool = new ConnectionsPool();
    const { socket, connection } = connectInMemory();
    await pool.newConnection(connection);
    const result = pool.broadcastMessage('default', 'x');
    socket.readyState = 2;
    expect(await result).toEqual(ONE_FAILED);
    expect(socket.sent).toEqual([]);
  });
});
