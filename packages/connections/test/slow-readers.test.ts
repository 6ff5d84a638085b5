import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type SlowDecision } from '../src/index.js';
import { digest, endTurn, member, tcpOf } from './support/engine.js';
import { useFakeClock } from './support/fake-clock.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory } from './support/memory-socket.js';
import { WireClient } from './support/wire.js';

/** More than the kernel takes for a client that reads nothing. */
const MORE_THAN_KERNEL = 16 * 1024 * 1024;
const ALL_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0 };
const ALL_DROPPED = { recipients: 1, sent: 0, dropped: 1, failed: 0 };

/** Fills what the kernel buffers for a client that does not read, until bytes wait in the process. */
async function stall(socket: WebSocket): Promise<void> {
  const tcp = tcpOf(socket);
  tcp.cork();
  socket.send(Buffer.alloc(MORE_THAN_KERNEL));
  tcp.uncork();
  await nextTurn();
  expect(socket.bufferedAmount).toBeGreaterThan(0);
}

/** The chunks that wait in the socket, but for the one that is being written. */
function waitingIn(socket: WebSocket): Buffer[] {
  const tcp = tcpOf(socket) as unknown as { _writableState: { getBuffer(): { chunk: Buffer }[] } };
  return tcp._writableState.getBuffer().map(({ chunk }) => chunk);
}

describe('what would exceed maxBufferedBytes', () => {
  const maxBufferedBytes = MORE_THAN_KERNEL / 16;

  test('is dropped with onSlow: drop; the readers that keep up get everything', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes, onSlow: 'drop' });
    const loopback = await Loopback.start();
    const slow = await member(pool, loopback, 'slow');
    const quick = await member(pool, loopback, 'quick');
    slow.client.socket.pause();
    await stall(slow.socket);
    const slowEvents: [string, number][] = [];
    pool.on('slow', ({ id }, bufferedAmount) => slowEvents.push([id, bufferedAmount]));
    for (const text of ['1', '2']) {
      const result = await pool.broadcastMessage('default', text);
      expect(result).toEqual({ recipients: 2, sent: 1, dropped: 1, failed: 0 });
    }
    expect(await slow.connection.send('private')).toBe(false);
    // Once per episode, not per message.
    expect(slowEvents).toEqual([['slow', slow.socket.bufferedAmount]]);
    expect(pool.stats()).toMatchObject({ slowReaders: 1, dropped: 3, connections: 2 });
    expect(await quick.client.exactly(2)).toEqual(['1', '2']);

    const drained = once(slow.connection, 'drain');
    slow.client.socket.resume();
    await drained;
    expect(slow.connection.bufferedAmount).toBe(0);
    expect((await pool.broadcastMessage('default', '3')).sent).toBe(2);
    expect((await slow.client.exactly(2)).at(-1)).toBe('3');
  });

  test('is a new episode after the drain', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes, onSlow: 'drop' });
    const { client, socket, connection } = await member(pool, await Loopback.start(), '1');
    const slow = vi.fn();
    pool.on('slow', slow);
    for (const episode of [1, 2]) {
      client.socket.pause();
      await stall(socket);
      await pool.broadcastMessage('default', 'dropped');
      await pool.broadcastMessage('default', 'dropped');
      expect(slow).toHaveBeenCalledTimes(episode);
      const drained = once(connection, 'drain');
      client.socket.resume();
      await drained;
    }
    expect((await client.exactly(2)).map(String)).not.toContain('dropped');
  });

  test('closes by default, with 1013 for a reader that wakes up', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes });
    const { client, socket, connection } = await member(pool, await Loopback.start(), '1');
    client.socket.pause();
    await stall(socket);
    expect(await pool.broadcastMessage('default', 'x')).toEqual(ALL_DROPPED);
    expect(connection.closed).toBe(true);
    expect((await pool.broadcastMessage('default', 'y')).sent).toBe(0);
    client.socket.resume();
    expect((await client.closed).code).toBe(1013);
    expect(client.inbox.map(digest)).toHaveLength(1);
  });

  test('ends a reader that never wakes up after the grace period, and frees its place', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes, closeTimeout: 50 });
    const wire = await WireClient.connect(await Loopback.start());
    wire.client.pause();
    const connection = new Connection('1', 'default', wire.socket);
    await pool.newConnection(connection);
    await stall(wire.socket);
    const closed = once(connection, 'close');
    await pool.broadcastMessage('default', 'x');
    expect(await closed).toEqual([1006, '']);
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, slowReaders: 1 });
    expect(connection.bufferedAmount).toBe(0);
  });

  test('is up to a function, asked for each message', async () => {
    const asked: [string, number][] = [];
    const answers: SlowDecision[] = ['send', 'drop', 'send'];
    const pool = new ConnectionsPool({
      maxBufferedBytes,
      onSlow: ({ id }, { byteLength }) => {
        asked.push([id, byteLength]);
        return answers.shift() ?? 'close';
      },
    });
    const { client, socket, connection } = await member(pool, await Loopback.start(), '1');
    client.socket.pause();
    await stall(socket);
    expect(await pool.broadcastMessage('default', '1')).toEqual(ALL_SENT);
    expect(await pool.broadcastMessage('default', '22')).toEqual(ALL_DROPPED);
    expect(await connection.send('333')).toBe(true);
    expect(await pool.broadcastMessage('default', '4444')).toEqual(ALL_DROPPED);
    expect(asked).toEqual([
      ['1', 3],
      ['1', 4],
      ['1', 5],
      ['1', 6],
    ]);
    client.socket.resume();
    expect((await client.closed).code).toBe(1013);
    expect(client.inbox.slice(1)).toEqual(['1', '333']);
  });

  test('closes when that function throws, which is reported', async () => {
    const pool = new ConnectionsPool({
      maxBufferedBytes: 10,
      onSlow: () => {
        throw new Error('undecided');
      },
    });
    const errors: string[] = [];
    pool.on('error', ({ message }) => errors.push(message));
    const { client } = await member(pool, await Loopback.start(), '1');
    expect(await pool.broadcastMessage('default', 'more than ten bytes')).toEqual(ALL_DROPPED);
    expect((await client.closed).code).toBe(1013);
    expect(errors).toEqual(['undecided']);
  });

  test('may be closed or sent to by that function without disturbing the order', async () => {
    const pool: ConnectionsPool = new ConnectionsPool({
      maxBufferedBytes: 1_000,
      onSlow: (connection) => {
        void connection.sendThenClose('too slow', 4000);
        return 'drop';
      },
    });
    const { client, connection } = await member(pool, await Loopback.start(), '1');
    void pool.broadcastMessage('default', '1');
    void connection.send('2');
    const result = pool.broadcastMessage('default', 'x'.repeat(2_000));
    expect((await client.closed).code).toBe(4000);
    expect(client.inbox).toEqual(['1', '2', 'too slow']);
    expect(await result).toEqual(ALL_DROPPED);
  });

  test('is measured by what waits in this turn, too', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 1_000, onSlow: 'drop' });
    const { client, connection } = await member(pool, await Loopback.start(), '1');
    void pool.broadcastMessage('default', 'x'.repeat(600));
    expect(connection.bufferedAmount).toBe(604);
    expect(await connection.send('y'.repeat(600))).toBe(false);
    void connection.send('z');
    expect(connection.bufferedAmount).toBe(607);
    expect(await client.exactly(2)).toEqual(['x'.repeat(600), 'z']);
    expect(connection.bufferedAmount).toBe(0);
  });
});

test('the bound itself is not exceeded by a message that just fits', async () => {
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

test('what the deciding function sends itself is dropped, and not decided about', async () => {
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

test('the end of an episode is told by the socket of a ws, without a timer', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 1_000, onSlow: 'drop' });
  const { client, socket, connection } = await member(pool, await Loopback.start(), '1');
  client.socket.pause();
  await stall(socket);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => timers.mockRestore());
  await pool.broadcastMessage('default', 'dropped');
  const drained = once(connection, 'drain');
  client.socket.resume();
  await drained;
  expect(timers).not.toHaveBeenCalled();
});

// A stream tells only that it has drained when it was full.
test('the end of an episode comes also when one message alone was too large', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 1_000, onSlow: 'drop' });
  const { client, connection } = await member(pool, await Loopback.start(), '1');
  const drained = once(connection, 'drain');
  expect(await connection.send('x'.repeat(1_000))).toBe(false);
  await drained;
  expect(await connection.send('y')).toBe(true);
  expect(await client.exactly(1)).toEqual(['y']);
});

describe('the end of an episode of a socket that does not tell', () => {
  useFakeClock();

  test('is when half of the bound is free again', async () => {
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
});

describe('what waits for a reader that has stalled', () => {
  async function stalled(pool: ConnectionsPool, loopback: Loopback, id: string) {
    const { client, socket } = await WireClient.connect(loopback);
    client.pause();
    const connection = new Connection(id, 'default', socket);
    await pool.newConnection(connection);
    await stall(socket);
    return { socket, connection };
  }

  // A slab of Node's pool would stay as long as the smallest message in it.
  test('keeps no more memory than its own', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 2 * MORE_THAN_KERNEL });
    const { socket, connection } = await stalled(pool, await Loopback.start(), '1');
    void connection.send('private');
    await nextTurn();
    expect(waitingIn(socket).at(-1)?.buffer.byteLength).toBe(9);
  });

  test('is one buffer for all of them also where only a part of a turn still fits', async () => {
    const maxBufferedBytes = MORE_THAN_KERNEL + 10_000;
    const pool = new ConnectionsPool({ maxBufferedBytes, onSlow: 'drop' });
    const loopback = await Loopback.start();
    const readers = [await stalled(pool, loopback, '1'), await stalled(pool, loopback, '2')];
    const buffered = readers.map(({ socket }) => socket.bufferedAmount);
    const fits = 'x'.repeat(maxBufferedBytes - Math.max(...buffered) - 1_000);
    const results = [
      pool.broadcastMessage('default', fits),
      pool.broadcastMessage('default', 'y'.repeat(2_000)),
    ];
    expect((await Promise.all(results)).map(({ sent }) => sent)).toEqual([2, 0]);
    const [one, other] = readers.map(({ socket }) => waitingIn(socket).at(-1)?.buffer);
    expect(one?.byteLength).toBeGreaterThan(0);
    expect(other).toBe(one);
  });
});

test('a hundred stalled readers keep one buffer between them', async () => {
  const pool = new ConnectionsPool({ maxBufferedBytes: 2 * MORE_THAN_KERNEL });
  const loopback = await Loopback.start();
  const sockets: WebSocket[] = [];
  const filler = 'x'.repeat(MORE_THAN_KERNEL);
  for (let i = 0; i < 100; i++) {
    const { client, socket } = await WireClient.connect(loopback);
    client.pause();
    await pool.newConnection(new Connection(String(i), 'default', socket));
    sockets.push(socket);
  }
  await pool.broadcastMessage('default', filler);
  for (const text of ['1', '2']) void pool.broadcastMessage('default', text);
  await endTurn();
  const waiting = sockets.map((socket) => waitingIn(socket).at(-1)?.buffer);
  expect(waiting[0]?.byteLength).toBe(6);
  expect(new Set(waiting).size).toBe(1);
});
