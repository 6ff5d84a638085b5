import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { type BroadcastResult, Connection, ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { Answers } from '../../src/sending/answers.js';
import type { Outcome } from '../../src/sending/delivery.js';
import { Envelope } from '../../src/sending/envelope.js';
import { Override } from '../../src/sending/override.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';

/** Replaces `send` on one instance, as JavaScript can. */
function mark(connection: Connection): void {
  const send = connection.send.bind(connection);
  Object.assign(connection, { send: (message: string) => send(`<${message}>`) });
}

test('an override gets a broadcast before a private message that a listener sends after it', async () => {
  // While the override ran, the broadcast waited for it to return, and the private message went out at once.
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: () => 'send' });
  const { socket, connection } = connectInMemory();
  onTestFinished(() => connection.terminate());
  mark(connection);
  await pool.newConnection(connection);
  let inner: Promise<unknown>[] = [];
  pool.once('slow', () => {
    inner = [
      pool.broadcastMessage('default', 'b'),
      connection.send('c'),
      pool.broadcastMessage('default', 'd'),
    ];
  });
  const big = 'a'.repeat(200);
  expect(await pool.broadcastMessage('default', big)).toMatchObject({ sent: 1 });
  expect(socket.sent).toEqual([`<${big}>`, '<b>', '<c>', '<d>']);
  expect(await Promise.all(inner)).toMatchObject([{ sent: 1 }, true, { sent: 1 }]);
});

// `send` was only compared in the base constructor, before class fields exist: broadcasts bypassed such a `send`.
test('a send that is a class field gets broadcasts and private messages', async () => {
  class Marked extends Connection<string, WebSocketMessage, MemorySocket> {
    constructor(socket: MemorySocket) {
      super('1', 'default', socket);
      // This is what a field initializer does; TypeScript does not allow the field itself.
      mark(this);
    }
  }
  const pool = new ConnectionsPool<WebSocketMessage, Marked>();
  const socket = new MemorySocket();
  const connection = new Marked(socket);
  await pool.newConnection(connection);
  await Promise.all([
    pool.broadcastMessage('default', 'a'),
    connection.send('b'),
    pool.broadcastJsonMessage('default', 'c'),
    connection.sendJson('d'),
    pool.broadcastError('default', 'e'),
  ]);
  expect(socket.sent).toEqual(['<a>', '<b>', '<"c">', '<"d">', '<e>']);
});

test('a send that is set on the instance before it joins gets broadcasts', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  mark(connection);
  await pool.newConnection(connection);
  await pool.broadcastMessage('default', 'a');
  expect(socket.sent).toEqual(['<a>']);
});

// A relay that overrides broadcastMessage missed what the other broadcast methods sent.
test('an overridden broadcastMessage gets broadcastJsonMessage and broadcastError too', async () => {
  const relayed: unknown[] = [];
  class Relay extends ConnectionsPool {
    override broadcastMessage(namespace: string, message: WebSocketMessage, exceptions?: Iterable<string>) {
      relayed.push(message);
      return super.broadcastMessage(namespace, message, exceptions);
    }
  }
  const pool = new Relay();
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  await pool.broadcastMessage('default', 'a');
  await pool.broadcastJsonMessage('default', { b: 1 });
  await pool.broadcastError('default', 'c');
  await pool.broadcastError('default', { d: 1 }, 4000);
  expect(relayed).toEqual(['a', '{"b":1}', 'c', '{"d":1}']);
  expect(socket.sent).toEqual(relayed);
});

// A tracer wrapped the `send` of connections that had joined. The broadcasts of the turn were then lost when such a
// connection was closed, and their promises never settled.
test('a send that is replaced after joining loses no broadcast that is pending when sendThenClose is called', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  const broadcast = pool.broadcastMessage('default', 'broadcast');
  const send = connection.send.bind(connection);
  Object.assign(connection, { send: (message: string) => send(message) });
  expect(await connection.sendThenClose('bye')).toBe(true);
  expect(await broadcast).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
  expect(socket.sent).toEqual(['broadcast', 'bye']);
  expect(socket.readyState).toBe(3);
});

/** An override that is called with broadcasts. */
function newOverride(send: (message: unknown) => unknown) {
  const errors: unknown[] = [];
  const counted: Outcome[] = [];
  const owner = { sendOverridden: send, failed: (error: unknown) => void errors.push(error) };
  const answers = new Answers(owner.failed, () => undefined);
  const override = new Override(owner, () => answers);
  const add = (message: string): void =>
    override.add(new Envelope(message), { count: (outcome) => void counted.push(outcome) });
  return { override, add, errors, counted };
}

const never = (): boolean => false;

test('an override gets messages one after the other, and messages that are added meanwhile last', () => {
  const seen: unknown[] = [];
  const { override, add, counted } = newOverride((message) => {
    seen.push(message);
    if (message !== 'a') return true;
    add('d');
    override.run(never);
    expect(override.isBusy).toBe(true);
    return true;
  });
  for (const text of ['a', 'b', 'c']) add(text);
  override.run(never);
  expect(seen).toEqual(['a', 'b', 'c', 'd']);
  expect(counted).toEqual(['sent', 'sent', 'sent', 'sent']);
  expect(override.isBusy).toBe(false);
});

test('an override that throws or answers false has failed that message alone', () => {
  const { override, add, errors, counted } = newOverride((message) => {
    if (message === 'b') throw new Error('no');
    return message !== 'c';
  });
  for (const text of ['a', 'b', 'c', 'd']) add(text);
  override.run(never);
  expect(counted).toEqual(['sent', 'failed', 'failed', 'sent']);
  expect(errors).toEqual([new Error('no')]);
});

test('an override is no longer called when its connection has ended', () => {
  const seen: unknown[] = [];
  const { override, add, counted } = newOverride((message) => void seen.push(message));
  for (const text of ['a', 'b', 'c']) add(text);
  override.run(() => seen.length === 1);
  expect([seen, counted]).toEqual([['a'], ['sent', 'failed', 'failed']]);
});

test('an override that waits may still send each message once', async () => {
  const { override } = newOverride(() => nextTurn());
  override.call('a');
  override.call('b');
  expect(['a', 'b', 'a'].map((message) => override.onReturn(message))).toEqual([true, true, false]);
  await nextTurn();
  override.call('c');
  await nextTurn();
  await nextTurn();
  // It has answered without passing anything on.
  expect(override.onReturn('c')).toBe(false);
});

// ---------------------------------------------------------------- sendThenClose

class Waiting extends Connection {
  gate: PromiseLike<unknown> = Promise.resolve();

  override async send(message: WebSocketMessage): Promise<boolean> {
    await this.gate;
    return super.send(message);
  }
}

function waiting(gate: PromiseLike<unknown>): { connection: Waiting; socket: MemorySocket } {
  const socket = new MemorySocket();
  const connection = new Waiting('1', 'default', socket);
  connection.gate = gate;
  return { connection, socket };
}

// Each call that returned counted as one of those that the close waits for: the last message was refused in its place.
test('messages that an override is still working on do not take the place of the last one before the close', async () => {
  const { connection, socket } = waiting(nextTurn());
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  const sent = [connection.send('1'), pool.send('default', '1', '2'), connection.sendThenClose('bye', 4003)];
  const after = connection.send('after');
  expect(await Promise.all(sent)).toEqual([true, true, true]);
  expect(await after).toBe(false);
  expect(socket.sent).toEqual(['1', '2', 'bye']);
});

// The override was awaited before the close began: messages that were sent after the call reached the client too.
test('no message sent after sendThenClose reaches the client, not even with an override that waits', async () => {
  const { connection, socket } = waiting(nextTurn());
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  const sent = connection.sendThenClose('bye', 4003);
  const after = connection.send('after');
  expect(connection.closed).toBe(true);
  expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 0 });
  expect(await sent).toBe(true);
  expect(await after).toBe(false);
  expect(socket.sent).toEqual(['bye']);
  expect(socket.closes.map(({ code }) => code)).toEqual([4003]);
});

test('no message follows sendThenClose when an override has refused the last one at once', async () => {
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  const send = connection.send.bind(connection);
  Object.assign(connection, { send: () => false });
  await new ConnectionsPool().newConnection(connection);
  const sent = connection.sendThenClose('bye');
  expect(await send('after')).toBe(false);
  expect(await sent).toBe(false);
  expect(socket.sent).toEqual([]);
});

// A banned client stayed connected because the override that was to tell it about the ban had rejected.
test('a connection is closed although its override rejects, and the call rejects', async () => {
  const { connection, socket } = waiting(Promise.reject(new Error('no')));
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  await expect(connection.sendErrorThenClose('banned', 4003, 'Banned')).rejects.toThrow('no');
  expect(socket.closes).toEqual([{ code: 4003, reason: 'Banned' }]);
  expect(pool.stats().connections).toBe(0);
});

describe('with a fake clock', () => {
  useFakeClock();

  // The connection was never closed, and no deadline was running.
  test('a connection is terminated in time although its override never answers', async () => {
    const { connection } = waiting(new Promise(() => undefined));
    const pool = new ConnectionsPool({ closeTimeout: 1_000 });
    await pool.newConnection(connection);
    const sent = connection.sendThenClose('bye', 4003);
    void sent.catch(() => undefined);
    expect(connection.closed).toBe(true);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 1 });
  });
});

// ---------------------------------------------------------------- counts

class Busy extends Connection {
  act: () => void = () => undefined;

  override send(message: WebSocketMessage): Promise<boolean> {
    if (message === 'x') this.act();
    return super.send(message);
  }
}

// The broadcast that the override was called for resolved before it was counted.
test.each<[string, (pool: ConnectionsPool) => void]>([
  ['flushes', (pool) => pool.flush()],
  [
    'broadcasts more than a turn may hold',
    (pool) => void pool.broadcastMessage('default', 'y'.repeat(1_100_000)),
  ],
])('the counts of a broadcast add up when an overridden send %s', async (_, act) => {
  const pool = new ConnectionsPool();
  const results: Promise<BroadcastResult>[] = [];
  for (const id of ['1', '2', '3']) {
    const connection = new Busy(id, 'default', new MemorySocket());
    connection.act = () => act(pool);
    await pool.newConnection(connection);
  }
  const { socket, connection } = connectInMemory('4');
  await pool.newConnection(connection);
  results.push(pool.broadcastMessage('default', 'x'), pool.broadcastMessage('default', 'z'));
  for (const result of await Promise.all(results))
    expect(result).toEqual({ recipients: 4, sent: 4, dropped: 0, failed: 0, conflated: 0 });
  expect(socket.sent[0]).toBe('x');
  expect(socket.sent.at(-1)).toBe('z');
});
