import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type SlowDecision,
  type WebSocketMessage,
} from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { useFakeClock } from '../support/fake-clock.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolInMemory } from '../support/pool-of.js';
import { slowMember } from '../support/slow-member.js';
import { watchUnhandled } from '../support/unhandled.js';

const ALL_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const ALL_DROPPED = { recipients: 1, sent: 0, dropped: 1, failed: 0, conflated: 0 };

test('a message that just fits the bound is sent', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const { socket, connection } = connectInMemory();
  onTestFinished(() => connection.terminate());
  await pool.newConnection(connection);
  socket.bufferedAmount = 90;
  expect(await connection.send('x'.repeat(9))).toBe(false);
  expect(await connection.send('x'.repeat(8))).toBe(true);
  expect(await pool.broadcastMessage('default', 'x'.repeat(9))).toEqual(ALL_DROPPED);
  expect(await pool.broadcastMessage('default', 'x'.repeat(8))).toEqual(ALL_SENT);
});

test('messages that wait for the end of the turn are written before a private message exceeds the bound', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, { maxBufferedBytes: 1_000, onSlow: 'drop' });
  onTestFinished(() => connection.terminate());
  socket.send = (message) => {
    socket.sent.push(message);
    socket.bufferedAmount += (message as string).length;
  };
  const result = pool.broadcastMessage('default', 'x'.repeat(200));
  expect(await connection.send('y'.repeat(900))).toBe(false);
  // The broadcast was written before the private message was refused.
  expect(socket.sent).toEqual(['x'.repeat(200)]);
  expect(await connection.send('z'.repeat(700))).toBe(true);
  expect(await result).toEqual(ALL_SENT);
});

test('onSlow is asked once about a private message over the bound, also if a broadcast waits before it', async () => {
  const asked: number[] = [];
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, {
    maxBufferedBytes: 100,
    onSlow: (_, { byteLength }) => {
      asked.push(byteLength);
      return 'send';
    },
  });
  onTestFinished(() => connection.terminate());
  const result = pool.broadcastMessage('default', 'before');
  expect(await connection.send('x'.repeat(200))).toBe(true);
  expect(await result).toEqual(ALL_SENT);
  expect(socket.sent).toEqual(['before', 'x'.repeat(200)]);
  expect(asked).toHaveLength(1);
});

test('a value that was held back leaves before newer messages when onSlow closes and removes the connection', async () => {
  const pool: ConnectionsPool = new ConnectionsPool({
    conflateAboveBytes: 1_000,
    maxBufferedBytes: 5_000,
    onSlow: (connection) => {
      void connection.close(4000);
      void pool.removeConnection(connection);
      return 'drop';
    },
  });
  const { socket, connection } = connectInMemory();
  await pool.newConnection(connection);
  socket.bufferedAmount = 4_000;
  const held = connection.send('price=1', { conflate: 'price' });
  void pool.broadcastMessage('default', 'x'.repeat(1_100));
  void pool.broadcastMessage('default', 'price=2', { conflate: 'price' });
  await endTurn();
  expect(await held).toBe(true);
  expect(socket.sent).toEqual(['price=1', 'price=2']);
});

test('a message that onSlow itself sends over the bound is dropped, without another call of onSlow', async () => {
  let asked = 0;
  const pool: ConnectionsPool = new ConnectionsPool({
    maxBufferedBytes: 100,
    onSlow: (connection) => {
      asked++;
      void connection.send('y'.repeat(200));
      return 'send';
    },
  });
  const { socket, connection } = connectInMemory();
  await pool.newConnection(connection);
  expect(await connection.send('x'.repeat(200))).toBe(true);
  expect(await pool.broadcastMessage('default', 'z'.repeat(200))).toEqual(ALL_SENT);
  expect(asked).toBe(2);
  expect(socket.sent).toEqual(['x'.repeat(200), 'z'.repeat(200)]);
  expect(pool.stats().dropped).toBe(2);
});

// The private message had no place in the order while user code was asked about another one, or about itself: what that
// code sent meanwhile overtook it.
describe('what onSlow sends', () => {
  /** A connection whose `onSlow` sends `inner` and drops what it was asked about. */
  async function droppingAfterSending(options: { readonly conflateAboveBytes?: number }) {
    const pool: ConnectionsPool = new ConnectionsPool({
      ...options,
      maxBufferedBytes: 10_000,
      onSlow: (reader) => {
        void reader.send('inner');
        return 'drop';
      },
    });
    const { socket, connection } = connectInMemory();
    onTestFinished(() => connection.terminate());
    await pool.newConnection(connection);
    return { pool, socket, connection };
  }

  test('a message that onSlow sends about a broadcast comes after a private message that was sent before', async () => {
    const { pool, socket, connection } = await droppingAfterSending({});
    socket.bufferedAmount = 8_500;
    const result = pool.broadcastMessage('default', 'x'.repeat(2_000));
    expect(await connection.send('y'.repeat(1_400))).toBe(true);
    expect(socket.sent).toEqual(['y'.repeat(1_400), 'inner']);
    expect(await result).toEqual(ALL_DROPPED);
  });

  test('a message that onSlow sends about one from a handler comes after that one', async () => {
    const sent: unknown[] = [];
    let hasAsked = false;
    const pool = new ConnectionsPool<WebSocketMessage, Connection>({
      maxBufferedBytes: 100,
      onSlow: (reader) => {
        if (!hasAsked) void reader.send('inner');
        hasAsked = true;
        return 'send';
      },
    });
    let fromHandler: Promise<boolean> | undefined;
    const connection = new Connection('1', 'default', new MemorySocket(), {
      send: (message) => {
        sent.push(message);
        if (message === 'outer') fromHandler = connection.send('y'.repeat(200));
      },
      close: () => undefined,
    });
    onTestFinished(() => connection.terminate());
    await pool.newConnection(connection);
    expect(await connection.send('outer')).toBe(true);
    expect(await fromHandler).toBe(true);
    expect(sent).toEqual(['outer', 'y'.repeat(200), 'inner']);
  });

  test('a message that onSlow sends about a value that was held back comes after the one that released it', async () => {
    const { pool, socket, connection } = await droppingAfterSending({ conflateAboveBytes: 100 });
    socket.bufferedAmount = 200;
    await pool.broadcastMessage('default', 'a', { conflate: 'a' });
    await pool.broadcastMessage('default', 'b'.repeat(30), { conflate: 'b' });
    socket.bufferedAmount = 50;
    socket.send = (message) => {
      socket.sent.push(message);
      socket.bufferedAmount = 9_980;
    };
    expect(await connection.send('outer')).toBe(true);
    expect(socket.sent).toEqual(['a', 'outer', 'inner']);
  });
});

// The close lets everything go at once. What was left of the turn went out before the older value that was held back.
describe.each<SlowDecision>(['drop', 'send'])(
  'an onSlow that closes the connection and answers %s',
  (decision) => {
    const poolThatCloses = (): ConnectionsPool =>
      new ConnectionsPool({
        conflateAboveBytes: 1_000,
        maxBufferedBytes: 5_000,
        onSlow: (connection) => {
          void connection.close(4000);
          return decision;
        },
      });
    const big = 'x'.repeat(1_100);

    test('a socket of its own gets the value that was held back before newer messages of the turn', async () => {
      const pool = poolThatCloses();
      const { socket, connection } = connectInMemory();
      await pool.newConnection(connection);
      socket.bufferedAmount = 4_000;
      const held = connection.send('price=1', { conflate: 'price' });
      void pool.broadcastMessage('default', big);
      void pool.broadcastMessage('default', 'price=2', { conflate: 'price' });
      await endTurn();
      expect(await held).toBe(true);
      expect(socket.sent.filter((message) => message !== big)).toEqual(['price=1', 'price=2']);
    });

    test('a ws socket gets the value that was held back before newer messages of the turn', async () => {
      const pool = poolThatCloses();
      const socket = new FakeWsSocket();
      const connection = new Connection('1', 'default', socket);
      await pool.newConnection(connection);
      socket._socket.writableLength = 4_000;
      const held = connection.send('price=1', { conflate: 'price' });
      void pool.broadcastMessage('default', big);
      void pool.broadcastMessage('default', 'price=2', { conflate: 'price' });
      await endTurn();
      expect(await held).toBe(true);
      expect(socket._socket.bytes.toString().match(/price=\d/g)).toEqual(['price=1', 'price=2']);
    });
  },
);

describe('with a fake clock', () => {
  useFakeClock();

  test('a slow-reader episode of a socket without drain events ends when half of the bound is free again', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { socket, connection } = connectInMemory();
    await pool.newConnection(connection);
    const drained = vi.fn();
    connection.on('drain', drained);
    socket.bufferedAmount = 100;
    expect(await connection.send('x')).toBe(false);
    for (const [bufferedAmount, episodes] of [
      [51, 0],
      [50, 1],
      [0, 1],
    ] as const) {
      socket.bufferedAmount = bufferedAmount;
      await vi.advanceTimersByTimeAsync(100);
      expect(drained).toHaveBeenCalledTimes(episodes);
    }
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a socket without drain events is checked soon in each episode, and less and less often while it stays slow', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const { socket, connection } = connectInMemory();
    await pool.newConnection(connection);
    for (let episode = 1; episode <= 2; episode++) {
      socket.bufferedAmount = 100;
      expect(await connection.send('x')).toBe(false);
      const waits: number[] = [];
      for (let look = 0; look < 6; look++) {
        const before = performance.now();
        vi.advanceTimersToNextTimer();
        waits.push(performance.now() - before);
      }
      expect(waits).toEqual([10, 20, 40, 80, 100, 100]);
      socket.bufferedAmount = 0;
      await vi.advanceTimersByTimeAsync(100);
      expect(vi.getTimerCount()).toBe(0);
    }
    expect(pool.stats()).toMatchObject({ slowReaders: 2, slowNow: 0 });
  });
});

test('handleDrain ends an episode once, and says nothing of a socket that is not slow', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, { maxBufferedBytes: 100, onSlow: 'drop' });
  const drained = vi.fn();
  connection.on('drain', drained);
  connection.handleDrain();
  expect(drained).toHaveBeenCalledTimes(0);
  socket.bufferedAmount = 100;
  expect(await connection.send('x')).toBe(false);
  for (let call = 0; call < 2; call++) {
    connection.handleDrain();
    expect(drained).toHaveBeenCalledTimes(1);
    expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 0 });
  }
});

// The connection remained in the gauge of slow readers, and nothing could ever remove it.
test('a slow reader that is removed from its pool no longer counts as slow there', async () => {
  const {
    pool,
    members: [{ socket, connection }],
  } = poolInMemory(1, { maxBufferedBytes: 100, onSlow: 'drop' });
  socket.bufferedAmount = 100;
  expect(await connection.send('x')).toBe(false);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 1 });
  await pool.removeConnection(connection);
  expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 0 });
});

describe('the gauge of slow readers', () => {
  useFakeClock();

  // A slow reader moved from one pool to another, and caught up there. The second pool had never counted it as slow,
  // and still counted it down: `slowNow` was -1 for ever.
  test('slowNow is right in both pools when a slow reader moves from one to the other', async () => {
    const options: ConnectionsPoolOptions = { maxBufferedBytes: 100, onSlow: 'drop' };
    const [one, other] = [new ConnectionsPool(options), new ConnectionsPool(options)];
    const slowNow = (): number[] => [one.stats().slowNow, other.stats().slowNow];
    const { connection, socket } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    expect(slowNow()).toEqual([1, 0]);
    await one.removeConnection(connection);
    expect(slowNow()).toEqual([0, 0]);
    await other.newConnection(connection);
    expect(slowNow()).toEqual([0, 1]);
    await other.removeConnection(connection);
    await one.newConnection(connection);
    expect(slowNow()).toEqual([1, 0]);
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(50);
    expect(slowNow()).toEqual([0, 0]);
  });

  test('slowNow is right when a slow reader moves to a pool whose bound it does not exceed', async () => {
    const one = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const other = new ConnectionsPool();
    const { connection } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    await one.removeConnection(connection);
    await other.newConnection(connection);
    await vi.advanceTimersByTimeAsync(50);
    expect([one.stats().slowNow, other.stats().slowNow]).toEqual([0, 0]);
  });

  test('slowNow is right when a slow reader that has moved closes', async () => {
    const options: ConnectionsPoolOptions = { maxBufferedBytes: 100, onSlow: 'drop' };
    const [one, other] = [new ConnectionsPool(options), new ConnectionsPool(options)];
    const { connection } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    await one.removeConnection(connection);
    await other.newConnection(connection);
    connection.terminate();
    expect([one.stats().slowNow, other.stats().slowNow]).toEqual([0, 0]);
  });
});

// An async `onSlow` returns a promise. Whatever it resolved to, the message was silently dropped, and a promise that
// rejected ended the process.
describe('an onSlow that returns a promise', () => {
  test.each([
    ['resolves', () => Promise.resolve('drop'), []],
    ['rejects', () => Promise.reject(new Error('no database')), ['no database']],
  ])(
    'an onSlow whose promise %s causes an error event, and the connection is closed',
    async (_title, onSlow, reasons) => {
      const { settle } = watchUnhandled();
      const pool = new ConnectionsPool({
        maxBufferedBytes: 100,
        onSlow: onSlow as unknown as () => SlowDecision,
      });
      const errors: Error[] = [];
      pool.on('error', (error) => errors.push(error));
      const { connection, socket } = slowMember(pool);
      expect(await connection.send('too much')).toBe(false);
      expect(await settle()).toEqual([]);
      expect(errors[0]).toBeInstanceOf(TypeError);
      expect(errors[0]?.message).toMatch(/onSlow.*'close', 'drop' or 'send'.*Promise/);
      expect(errors.slice(1).map(({ message }) => message)).toEqual(reasons);
      expect(socket.sent).toEqual([]);
      expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
    },
  );
});

// A subclass whose `close` saves the score first was closed once for each message that a slow reader could not take:
// 50 broadcasts saved the score 50 times.
test('an overridden close of a slow reader is called once per episode', async () => {
  class Player extends Connection<string, WebSocketMessage, MemorySocket> {
    readonly saves: unknown[][] = [];

    override async close(code?: number, reason?: string): Promise<void> {
      this.saves.push([code, reason]);
      await nextTurn();
    }
  }
  const pool = new ConnectionsPool<WebSocketMessage, Player>({ maxBufferedBytes: 100 });
  const socket = new MemorySocket();
  const player = new Player('1', 'default', socket);
  await pool.newConnection(player);
  socket.bufferedAmount = 1_000;
  for (let i = 0; i < 50; i++) void pool.broadcastMessage('default', `broadcast ${i}`);
  for (let i = 0; i < 5; i++) expect(await player.send(`private ${i}`)).toBe(false);
  expect(player.saves).toEqual([[1013, 'Slow reader']]);

  // The close did nothing; the reader has room again and becomes slow again: a new episode.
  socket.bufferedAmount = 0;
  player.handleDrain();
  expect(await player.send('taken')).toBe(true);
  socket.bufferedAmount = 1_000;
  for (let i = 0; i < 3; i++) await player.send('refused');
  expect(player.saves).toHaveLength(2);
});

// A removed slow reader counted as `slowNow` for ever.
test('a slow reader that leaves its pool no longer counts there, and still gets its drain event', async () => {
  const [pool, next] = [
    new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' }),
    new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' }),
  ];
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  socket.bufferedAmount = 1_000;
  expect(await connection.send('x')).toBe(false);
  await pool.removeConnection(connection);
  expect(pool.stats().slowNow).toBe(0);
  await next.newConnection(connection);
  expect(next.stats()).toMatchObject({ slowNow: 1, slowReaders: 0 });
  const drained = once(connection, 'drain');
  socket.bufferedAmount = 0;
  await drained;
  expect([pool.stats().slowNow, next.stats().slowNow]).toEqual([0, 0]);
});
