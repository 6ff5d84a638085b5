import { setImmediate as nextTurn } from 'node:timers/promises';
import zlib from 'node:zlib';
import { describe, expect, test, vi } from 'vitest';
import {
  type BroadcastResult,
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '../../src/index.js';
import { Outbox } from '../../src/sending/outbox.js';
import { endTurn } from '../support/engine.js';
import { useFakeClock } from '../support/fake-clock.js';
import { FakeWsSocket, type FakeAgreement } from '../support/fake-ws-socket.js';
import { holdDeflate, spyOnZlib } from '../support/zlib-spies.js';
import { MemorySocket } from '../support/memory-socket.js';
import { poolInMemory } from '../support/pool-of.js';
import { slowClock } from '../support/slow-clock.js';

const socketsOf = (count: number, agreement?: FakeAgreement): FakeWsSocket[] =>
  Array.from({ length: count }, () => new FakeWsSocket(agreement));

/** A pool with the members '0', '1', '2', … over these sockets. */
function poolOver(sockets: readonly FakeWsSocket[], options?: ConnectionsPoolOptions): ConnectionsPool {
  const pool = new ConnectionsPool(options);
  for (const [id, socket] of sockets.entries())
    void pool.newConnection(new Connection(`${id}`, 'default', socket));
  return pool;
}

describe('broadcasts whose compression is overdue', () => {
  useFakeClock();

  // While the thread pool was busy, each slow client got its own copy of each message that was sent uncompressed: some
  // megabytes of broadcasts became gigabytes.
  test('all members are written the same buffer when the compression is not done in time', async () => {
    holdDeflate();
    const sockets = socketsOf(50, 'stateless');
    const pool = poolOver(sockets);
    // Each of them is a little behind.
    for (const { _socket: tcp } of sockets) tcp.writableLength = 1_000;
    await vi.advanceTimersByTimeAsync(1_000);
    const setTimer = vi.spyOn(globalThis, 'setTimeout');
    const results = Array.from({ length: 3 }, () => pool.broadcastMessage('default', 'x'.repeat(20_000)));
    await vi.advanceTimersByTimeAsync(40);
    expect(sockets[0]!._socket.chunks).toEqual([]);
    await vi.advanceTimersByTimeAsync(60);
    expect(setTimer).toHaveBeenCalledTimes(1);
    expect(await Promise.all(results)).toEqual(
      results.map(() => ({ recipients: 50, sent: 50, dropped: 0, failed: 0, conflated: 0 })),
    );
    const distinct = new Set(
      sockets.flatMap(({ _socket: { chunks } }) => chunks.map(({ buffer }) => buffer)),
    );
    const bytes = sockets[0]!._socket.bytes;
    expect(bytes.length).toBe(3 * 20_004);
    for (const { _socket: tcp } of sockets) expect(tcp.bytes.equals(bytes)).toBe(true);
    expect(distinct.size).toBe(sockets[0]!._socket.chunks.length);
  });
});

/** Broadcasts that take several turns: each write takes a millisecond, and a flush may take two. */
const MAX_FLUSH_MS = 2;

// A listener sent a large broadcast while the private message before it was written. The large one stopped in the
// middle of being written; clients that it had not reached got neither it nor the one before, and no promise settled.
test('members that a suspended broadcast has not reached get it after user code has started it', async () => {
  const clock = slowClock();
  const deflating = holdDeflate();
  const pool = new ConnectionsPool({ maxFlushMs: MAX_FLUSH_MS, maxBufferedBytes: 4 << 20 });
  await pool.newConnection(new Connection('ws', 'default', new FakeWsSocket('stateless')));
  const received: number[][] = [];
  let huge: Promise<BroadcastResult> | undefined;
  for (let i = 0; i < 60; i++) {
    const lengths: number[] = (received[i] = []);
    const send = (message: WebSocketMessage): void => {
      lengths.push((message as string).length);
      clock.pass(1);
      if (i === 0) huge ??= pool.broadcastMessage('default', 'h'.repeat(1_100_000));
    };
    const handlers = { send, close: () => undefined };
    await pool.newConnection(new Connection(`h${i}`, 'default', new MemorySocket(), handlers));
  }
  // The compression for the `ws` socket delays it; the private message of h0 is flushed separately meanwhile.
  const big = pool.broadcastMessage('default', 'b'.repeat(20_000));
  void pool.send('default', 'h0', 'private');
  await endTurn();
  clock.pass(60);
  deflating.release();
  expect(await big).toEqual({ recipients: 61, sent: 61, dropped: 0, failed: 0, conflated: 0 });
  clock.pass(60);
  expect(await huge).toEqual({ recipients: 61, sent: 61, dropped: 0, failed: 0, conflated: 0 });
  const [first, ...others] = received;
  expect(first).toEqual([20_000, 7, 1_100_000]);
  for (const lengths of others) expect(lengths).toEqual([20_000, 1_100_000]);
});

// A large ArrayBuffer was transferred to a worker while its broadcast was still being written. Clients that it had not
// reached got a header without its bytes, took the next message for the payload, and closed with a protocol error.
test('a large ArrayBuffer that is transferred between two turns fails for the remaining members and breaks no stream', async () => {
  const clock = slowClock();
  const sockets = socketsOf(100);
  for (const { _socket: tcp } of sockets) tcp.onWrite = () => clock.pass(1);
  const pool = poolOver(sockets, { maxFlushMs: MAX_FLUSH_MS });
  const payload = new ArrayBuffer(100_000);
  new Uint8Array(payload).fill(7);
  const result = pool.broadcastMessage('default', payload);
  await endTurn();
  const reached = sockets.filter(({ _socket: { bytesWritten } }) => bytesWritten > 0).length;
  expect(reached).toBeGreaterThan(0);
  expect(reached).toBeLessThan(sockets.length);
  structuredClone(payload, { transfer: [payload] });
  expect(await result).toEqual({
    recipients: 100,
    sent: reached,
    dropped: 0,
    failed: 100 - reached,
    conflated: 0,
  });

  await pool.broadcastMessage('default', 'after');
  const after = Buffer.from('\x81\x05after', 'latin1');
  const header = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0]);
  const both = Buffer.concat([header, Buffer.alloc(100_000, 7), after]);
  const streams = sockets.map(({ _socket: { bytes } }) => bytes);
  expect(streams.filter((bytes) => bytes.equals(both))).toHaveLength(reached);
  expect(streams.filter((bytes) => bytes.equals(after))).toHaveLength(100 - reached);
});

test('broadcasts that reach a quarter of maxBufferedBytes are written to everybody before the turn ends', () => {
  slowClock();
  const { pool, members } = poolInMemory(100, { maxBufferedBytes: 4_000 });
  const allSent = (messages: readonly string[]): void => {
    for (const { socket } of members) expect(socket.sent).toEqual(messages);
  };
  // Frames of 500 and 499 bytes.
  const [half, less] = ['x'.repeat(496), 'x'.repeat(495)];
  void pool.broadcastMessage('default', half);
  void pool.broadcastMessage('default', less);
  allSent([]);
  pool.flush();
  void pool.broadcastMessage('default', half);
  void pool.broadcastMessage('default', half);
  allSent([half, less, half, half]);
});

test('a large message to a room is compressed for the members that have agreed to that', async () => {
  const sockets = [...socketsOf(2, 'stateless'), new FakeWsSocket()];
  const pool = poolOver(sockets);
  for (const connection of pool.connections.get('default')!.values()) connection.join('red');
  const result = await pool.broadcastMessage('default', 'x'.repeat(20_000), { rooms: 'red' });
  expect(result).toMatchObject({ recipients: 3, sent: 3 });
  const [first, second, plain] = sockets.map(({ _socket: { bytes } }) => bytes.length);
  expect([second, plain]).toEqual([first, 20_004]);
  expect(first).toBeLessThan(1_000);
});

test('a burst writes for no longer than maxFlushMs before the turn ends, and once only', async () => {
  const clock = slowClock();
  const sockets = socketsOf(100);
  for (const { _socket: tcp } of sockets) tcp.onWrite = () => clock.pass(1);
  const pool = poolOver(sockets, { maxFlushMs: MAX_FLUSH_MS, maxBufferedBytes: 4_000 });
  const reached = (): number => sockets.filter(({ _socket: { bytesWritten } }) => bytesWritten > 0).length;
  const results = [pool.broadcastMessage('default', 'x'.repeat(1_000))];
  const written = reached();
  expect(written).toBeGreaterThan(0);
  expect(written).toBeLessThan(sockets.length);
  results.push(pool.broadcastMessage('default', 'y'.repeat(1_000)));
  expect(reached()).toBe(written);
  for (const result of await Promise.all(results))
    expect(result).toMatchObject({ recipients: 100, sent: 100 });
});

test('a member that has left does not keep the broadcasts after it from being counted and sent', async () => {
  const { pool, members } = poolInMemory(3);
  const [a, b, c] = members;
  void pool.broadcastMessage('default', '1');
  await pool.removeConnection(b.connection);
  expect(await pool.broadcastMessage('default', '2')).toMatchObject({ recipients: 2, sent: 2 });
  expect([a, b, c].map(({ socket }) => socket.sent)).toEqual([['1', '2'], ['1'], ['1', '2']]);
});

test('a broadcast for which maxFlushMs is enough is written in one turn, however many members there are', async () => {
  slowClock();
  const { pool, members } = poolInMemory(100, { maxFlushMs: MAX_FLUSH_MS });
  void pool.broadcastMessage('default', 'x');
  await nextTurn();
  expect(members.filter(({ socket }) => socket.sent.length === 1)).toHaveLength(100);
});

test('members with messages of their own are written to over several turns if maxFlushMs does not suffice', async () => {
  const clock = slowClock();
  const sockets = socketsOf(50);
  for (const { _socket: tcp } of sockets) tcp.onWrite = () => clock.pass(1);
  const pool = poolOver(sockets, { maxFlushMs: MAX_FLUSH_MS });
  void pool.broadcastMessage('default', 'to all');
  for (const index of sockets.keys()) void pool.send('default', `${index}`, 'to one');
  const written = (): number => sockets.filter(({ _socket: { chunks } }) => chunks.length > 0).length;
  const perTurn: number[] = [];
  while (written() < 50) {
    const before = written();
    await nextTurn();
    perTurn.push(written() - before);
  }
  // The clock is read after every sixteenth.
  expect(perTurn.filter((count) => count > 0)).toEqual([16, 16, 16, 2]);
  for (const { _socket: tcp } of sockets)
    expect(tcp.bytes.toString('latin1')).toBe('\x81\x06to all\x81\x06to one');
});

test('exceptions from a broadcast may be members whose send is overridden, or connections that are closing', async () => {
  class Overridden extends Connection {
    readonly sends: unknown[] = [];
    override send(message: WebSocketMessage): Promise<boolean> {
      this.sends.push(message);
      return Promise.resolve(true);
    }
  }
  const { pool, members } = poolInMemory(3);
  const overridden = ['x', 'y'].map((id) => new Overridden(id, 'default', new MemorySocket()));
  for (const connection of overridden) await pool.newConnection(connection);
  const [first, second, third] = members;
  void second.connection.close();
  const exceptions = [first, second].map((member) => member.connection.id);
  const result = await pool.broadcastMessage('default', '1', [...exceptions, 'x']);
  expect(result).toMatchObject({ recipients: 2, sent: 2 });
  expect(members.map(({ socket }) => socket.sent)).toEqual([[], [], ['1']]);
  expect(overridden.map(({ sends }) => sends)).toEqual([[], ['1']]);
  expect(await pool.broadcastMessage('default', '2')).toMatchObject({ recipients: 4, sent: 4 });
  expect(third.socket.sent).toEqual(['1', '2']);
});

test('members of a room that is silent are not looked at when another room is sent to', async () => {
  const { pool, members } = poolInMemory(3);
  const [red, blue] = members;
  red.connection.join('red');
  blue.connection.join('blue');
  await pool.broadcastMessage('default', '1', { rooms: 'red' });
  const looks = vi.spyOn(Outbox.prototype, 'writeShared');
  await pool.broadcastMessage('default', '2', { rooms: 'blue' });
  expect(looks).toHaveBeenCalledOnce();
  expect(members.map(({ socket }) => socket.sent)).toEqual([['1'], ['2'], []]);
});

test('the figures count each message for each member that it was written to', () => {
  const pool = poolOver(socketsOf(3));
  for (const text of ['1', '22']) void pool.broadcastMessage('default', text);
  pool.flush();
  const bytes = { bytesSent: 3 * (3 + 4), wireBytesSent: 3 * (3 + 4) };
  expect(pool.stats()).toMatchObject({ writes: 3, messagesSent: 6, ...bytes });
});

// A log that is sealed by a burst and later sealed again, where the compressed messages are ready, continues in two logs.
test('broadcasts stay in order when a burst follows one whose compression takes long, in the middle of a walk', async () => {
  const clock = slowClock();
  const deflating = holdDeflate();
  const sockets = [new FakeWsSocket(), ...socketsOf(39, 'stateless')];
  for (const { _socket: tcp } of sockets) tcp.onWrite = () => clock.pass(0.1);
  const pool = poolOver(sockets, { maxFlushMs: MAX_FLUSH_MS });
  const results: Promise<BroadcastResult>[] = [];
  const broadcast = (text: string): void => void results.push(pool.broadcastMessage('default', text));
  broadcast('0');
  await nextTurn();
  for (const text of ['a', 'b'.repeat(20_000), 'h'.repeat(1_100_000), 'c']) broadcast(text);
  await endTurn();
  await endTurn();
  broadcast('d');
  deflating.release();
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 40, sent: 40 });
  const [plain, compressed] = sockets.map(({ _socket: { bytes } }) => bytes);
  const letters = plain!
    .toString('latin1')
    .replaceAll(/(.)\1+/g, '$1')
    .match(/[0abchd]/g);
  expect(letters).toEqual(['0', 'a', 'b', 'h', 'c', 'd']);
  expect(compressed!.length).toBeLessThan(10_000);
});

// A log of 1 MiB starts to be written before its turn ends, and then waits for its compression.
test('messages that wait for their compression go out plain when they take a quarter of maxBufferedBytes', async () => {
  holdDeflate();
  const [socket] = socketsOf(1, 'stateless') as [FakeWsSocket];
  const pool = poolOver([socket], { maxBufferedBytes: 16 << 20 });
  // With its header of 10 bytes.
  const mebibyte = 'x'.repeat(2 ** 20 - 10);
  const written: number[] = [];
  const results = Array.from({ length: 4 }, () => {
    const result = pool.broadcastMessage('default', mebibyte);
    written.push(socket._socket.bytesWritten);
    return result;
  });
  expect(written).toEqual([0, 0, 0, 4 << 20]);
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 1, sent: 1 });
});

test('flush() also writes what has waited for its compression since an earlier turn', async () => {
  slowClock();
  holdDeflate();
  const [socket] = socketsOf(1, 'stateless') as [FakeWsSocket];
  const pool = poolOver([socket]);
  const result = pool.broadcastMessage('default', 'x'.repeat(20_000));
  await endTurn();
  expect(socket._socket.bytesWritten).toBe(0);
  pool.flush();
  expect(socket._socket.bytesWritten).toBe(20_004);
  expect(await result).toMatchObject({ recipients: 1, sent: 1 });
});

test('nothing is left for another turn when the last write took longer than maxFlushMs', async () => {
  const clock = slowClock();
  const [socket] = socketsOf(1) as [FakeWsSocket];
  socket._socket.onWrite = () => clock.pass(2 * MAX_FLUSH_MS);
  const pool = poolOver([socket], { maxFlushMs: MAX_FLUSH_MS });
  const schedule = vi.spyOn(globalThis, 'setImmediate');
  void pool.broadcastMessage('default', 'x');
  await nextTurn();
  await nextTurn();
  expect(socket._socket.chunks).toHaveLength(1);
  expect(schedule).toHaveBeenCalledOnce();
});

test('a large message is compressed as long as some member has agreed to that, and no longer', async () => {
  const pool = poolOver([...socketsOf(2, 'stateless'), new FakeWsSocket()]);
  const compressions: number[] = [];
  for (const leaving of [undefined, '0', '1']) {
    if (leaving !== undefined) await pool.removeConnection(pool.getConnection('default', leaving)!);
    await pool.broadcastMessage('default', 'x'.repeat(20_000));
    compressions.push(pool.stats().compressions);
  }
  expect(compressions).toEqual([1, 2, 2]);
});

test('a turn whose messages take longer to compress than maxFlushMs leaves in parts, each to all members', async () => {
  const clock = slowClock();
  const { deflateRawSync } = zlib;
  spyOnZlib('deflateRawSync').mockImplementation((payload, options) => {
    clock.pass(1);
    return deflateRawSync(payload, options);
  });
  const sockets = socketsOf(3, 'stateless');
  const pool = poolOver(sockets, { maxFlushMs: 5 });
  const results = Array.from({ length: 40 }, (_, i) =>
    pool.broadcastMessage('default', `${i}`.padEnd(200, '.')),
  );
  await nextTurn();
  const first = sockets.map(({ _socket: { bytesWritten } }) => bytesWritten);
  expect(first[0]).toBeGreaterThan(0);
  expect(first).toEqual([first[0], first[0], first[0]]);
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 3, sent: 3 });
  for (const { _socket: tcp } of sockets) expect(tcp.bytesWritten).toBeGreaterThan(2 * first[0]!);
  expect(pool.stats().compressions).toBe(40);

  // Sixteen or fewer are not divided.
  const chunks = sockets[0]!._socket.chunks.length;
  for (let i = 0; i < 16; i++) void pool.broadcastMessage('default', `${i}`.padEnd(200, ':'));
  await nextTurn();
  expect(sockets[0]!._socket.chunks.length - chunks).toBe(1);
  expect(pool.stats().compressions).toBe(40 + 16);
});
