import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool, type SlowDecision } from '../../src/index.js';
import { digest, member } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolOf } from '../support/pool-of.js';
import { MORE_THAN_KERNEL, stall } from '../support/stall.js';
import { WireClient } from '../support/wire.js';

const ALL_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const ALL_DROPPED = { recipients: 1, sent: 0, dropped: 1, failed: 0, conflated: 0 };
const maxBufferedBytes = MORE_THAN_KERNEL / 16;

test("onSlow: 'drop' drops a message over the bound, and readers that keep up get everything", async () => {
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
    expect(result).toEqual({ recipients: 2, sent: 1, dropped: 1, failed: 0, conflated: 0 });
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

test('a message over the bound after the drain begins a new episode', async () => {
  const {
    pool,
    members: [{ client, socket, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes, onSlow: 'drop' } });
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

test('a message over the bound closes by default, with 1013 for a reader that wakes up', async () => {
  const {
    pool,
    members: [{ client, socket, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes } });
  client.socket.pause();
  await stall(socket);
  expect(await pool.broadcastMessage('default', 'x')).toEqual(ALL_DROPPED);
  expect(connection.closed).toBe(true);
  expect((await pool.broadcastMessage('default', 'y')).sent).toBe(0);
  client.socket.resume();
  expect((await client.closed).code).toBe(1013);
  expect(client.inbox.map(digest)).toHaveLength(1);
});

test('a slow reader that never wakes up is ended after the grace period, and frees its place', async () => {
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

test('onSlow may be a function that decides about each message over the bound', async () => {
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

test('a slow reader is closed and an error event emitted when onSlow throws', async () => {
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

test('onSlow may close the connection or send to it without disturbing the order', async () => {
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

// Five broadcasts of 20 KB with five private messages between them: three arrived, and the client was closed as a slow
// reader, although its socket was empty.
test('a private message makes no reader slow while pending messages can still leave', async () => {
  const {
    pool,
    members: [{ client, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes: 64 * 1024 } });
  const sent: Promise<unknown>[] = [];
  const expected: string[] = [];
  for (const letter of 'abcde') {
    for (const text of [letter, letter.toUpperCase()].map((char) => char.repeat(20_000))) expected.push(text);
    sent.push(pool.broadcastMessage('default', letter.repeat(20_000)));
    sent.push(connection.send(letter.toUpperCase().repeat(20_000)));
  }
  expect(await Promise.all(sent)).toEqual(expected.map((_, index) => (index % 2 === 0 ? ALL_SENT : true)));
  expect(await client.exactly(10)).toEqual(expected);
  expect(pool.stats()).toMatchObject({ slowReaders: 0, dropped: 0 });
});

test('messages that wait for the end of the turn count for bufferedAmount, and leave before a message is refused', async () => {
  const {
    pool,
    members: [{ client, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes: 6_000, onSlow: 'drop' } });
  void pool.broadcastMessage('default', 'x'.repeat(600));
  expect(connection.bufferedAmount).toBe(604);
  expect(await connection.send('y'.repeat(6_000))).toBe(false);
  expect(connection.bufferedAmount).toBe(0);
  void pool.broadcastMessage('default', 'x'.repeat(600));
  void connection.send('z');
  expect(connection.bufferedAmount).toBe(607);
  expect(await client.exactly(3)).toEqual(['x'.repeat(600), 'x'.repeat(600), 'z']);
  expect(connection.bufferedAmount).toBe(0);
});

test('the drain event of a ws socket ends an episode, without a timer', async () => {
  const {
    pool,
    members: [{ client, socket, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes: 1_000, onSlow: 'drop' } });
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

// A stream emits `drain` only if it was full.
test('an episode also ends when a single message was too large', async () => {
  const {
    members: [{ client, connection }],
  } = await poolOf(1, { pool: { maxBufferedBytes: 1_000, onSlow: 'drop' } });
  const drained = once(connection, 'drain');
  expect(await connection.send('x'.repeat(1_000))).toBe(false);
  await drained;
  expect(await connection.send('y')).toBe(true);
  expect(await client.exactly(1)).toEqual(['y']);
});
