import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { noteClosing } from './support/closing-time.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watchUnhandled } from './support/unhandled.js';

const READY_STATE_OPEN = 1;
const READY_STATE_CLOSED = 3;

/** Whether the promise has settled by now, without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const state = { isSettled: false };
  const settle = (): void => void (state.isSettled = true);
  promise.then(settle, settle);
  return state;
}

async function connectMany(loopback: Loopback, ids: readonly string[], namespace = 'default') {
  const pairs = [];
  for (const id of ids) pairs.push(await loopback.connect(id, namespace));
  return pairs;
}

describe('on a fake clock', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('one limit holds for all namespaces of a drain together', async () => {
    // The original drained each namespace by itself: a thousand namespaces meant a thousand times the rate.
    const pool = new ConnectionsPool();
    const sockets: MemorySocket[] = [];
    for (let n = 0; n < 9; n++) {
      const { connection, socket } = connectInMemory(`${n}`, `namespace ${n % 3}`);
      sockets.push(socket);
      await pool.newConnection(connection);
    }
    const closed = (): number => sockets.filter(({ closes }) => closes.length > 0).length;

    const drained = pool.drainConnections(3);
    await vi.advanceTimersByTimeAsync(0);
    expect(closed()).toBe(3);
    await vi.advanceTimersByTimeAsync(999);
    expect(closed()).toBe(3);
    await vi.advanceTimersByTimeAsync(101);
    expect(closed()).toBe(6);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(closed()).toBe(9);
    await expect(drained).resolves.toMatchObject({ closed: 9, terminated: 0, left: 0 });
  });

  test('close resolves when the socket has closed, neither sooner nor later', async () => {
    // The original slept for 100 ms and resolved, whether the peer had answered within it, at once, or not at all.
    const silent = connectInMemory('1', 'default', new MemorySocket(false));
    const closing = watch(silent.connection.close());
    await vi.advanceTimersByTimeAsync(5_000);
    expect(closing.isSettled).toBe(false);
    silent.socket.end();
    await Promise.resolve();
    await Promise.resolve();
    expect(closing.isSettled).toBe(true);

    const prompt = connectInMemory('2');
    // The clock stands still: what waits for any fixed time never gets there.
    await prompt.connection.close();
    expect(prompt.socket.readyState).toBe(READY_STATE_CLOSED);
  });

  test('a send to a closed connection neither reaches the socket nor re-arms a timer', async () => {
    // The original passed such a message on and started the idle timer anew: each send to somebody long gone kept
    // the connection in memory for another two minutes, at whose end it was closed a second time.
    const pool = new ConnectionsPool({ idleTimeout: 60_000 });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    expect(vi.getTimerCount()).toBe(1);
    await connection.close();

    await expect(connection.send('too late')).resolves.toBe(false);
    await expect(connection.sendJson({ too: 'late' })).resolves.toBe(false);
    await expect(connection.sendError('too late')).resolves.toBe(false);
    connection.updateTimeout();
    expect(socket.sent).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a message to a connection that is closing is refused as well', async () => {
    // Between the close frame and its answer the original still sent, which `ws` answers with an error.
    const { connection, socket } = connectInMemory('1', 'default', new MemorySocket(false));
    const closing = connection.close(4000);
    await expect(connection.send('too late')).resolves.toBe(false);
    expect(socket.sent).toEqual([]);
    socket.end();
    await closing;
  });

  test('what the client sends keeps a connection from being idle', async () => {
    // The original reset the idle time when the server sent: a chat user who only wrote was disconnected, and a
    // dead peer in a busy room was kept for ever.
    const pool = new ConnectionsPool({ idleTimeout: 1_000 });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    for (let n = 0; n < 5; n++) {
      await vi.advanceTimersByTimeAsync(600);
      socket.emit('message', Buffer.from('still here'), false);
    }
    expect(socket.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_300);
    expect(socket.closes).toMatchObject([{ code: 4408 }]);
  });

  test('what the server sends does not', async () => {
    // The other half of the same fault.
    const pool = new ConnectionsPool({ idleTimeout: 1_000 });
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    for (let n = 0; n < 3 && socket.closes.length === 0; n++) {
      await connection.send('are you there?');
      await vi.advanceTimersByTimeAsync(600);
    }
    expect(socket.closes).toMatchObject([{ code: 4408 }]);
  });

  test('a hundred connections with an idle limit and any number of messages share one timer', async () => {
    // The original cleared and made a timer object for each message of each connection.
    const pool = new ConnectionsPool({ idleTimeout: 60_000 });
    const pairs = Array.from({ length: 100 }, (_, n) => connectInMemory(`${n}`));
    for (const { connection } of pairs) await pool.newConnection(connection);
    const timeouts = vi.spyOn(globalThis, 'setTimeout');
    const intervals = vi.spyOn(globalThis, 'setInterval');
    for (let n = 0; n < 10; n++) {
      for (const { connection, socket } of pairs) {
        socket.emit('message', Buffer.from('in'), false);
        await connection.send('out');
      }
    }
    expect(timeouts.mock.calls.length + intervals.mock.calls.length).toBe(0);
    expect(vi.getTimerCount()).toBe(1);
    vi.restoreAllMocks();

    await pool.closeAll('default');
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a drain is paced: nobody is closed within a second of the batch before its own', async () => {
  // The original closed everybody in one loop, whatever the rate: all clients came back at the same instant.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const pairs = await connectMany(loopback, ['1', '2', '3']);
  for (const { connection } of pairs) await pool.newConnection(connection);
  const closingTimes = pairs.map(({ socket }) => noteClosing(socket));

  await pool.drainConnections(2);
  for (const { client } of pairs) expect(await client.closed).toMatchObject({ code: 1012 });
  const [first, second, third] = (await Promise.all(closingTimes)).toSorted((a, b) => a - b) as [
    number,
    number,
    number,
  ];
  expect(third - first).toBeGreaterThanOrEqual(1_000);
  expect(second - first).toBeLessThan(third - first);
});

test('a drain resolves when the last socket is closed', async () => {
  // The original resolved as soon as it had asked: `await drain(); process.exit()` cut every closing handshake off.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const pairs = await connectMany(loopback, ['1', '2', '3']);
  for (const { connection } of pairs) await pool.newConnection(connection);

  const report = await pool.drainConnections(10, 'Restart');
  expect(pairs.map(({ socket }) => socket.readyState)).toEqual([3, 3, 3]);
  expect(report).toMatchObject({ closed: 3, terminated: 0, left: 0 });
  for (const { client } of pairs) expect(await client.closed).toEqual({ code: 1012, reason: 'Restart' });
});

test('a drain does not forget a socket that is still open, and ends one that does not answer', async () => {
  // The original emptied its map when it had called close: a client that never answered stayed connected for ever,
  // and nothing in the process knew of it any more.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ closeTimeout: 200 });
  const { client, connection, socket } = await loopback.connect('deaf');
  await pool.newConnection(connection);
  client.socket.pause();

  const drained = pool.drainConnections(10);
  expect(pool.getConnection('default', 'deaf')).toBe(connection);
  expect(pool.stats().connections).toBe(1);
  await expect(drained).resolves.toMatchObject({ closed: 0, terminated: 1, left: 0 });
  expect(socket.readyState).toBe(READY_STATE_CLOSED);
  expect(pool.stats().connections).toBe(0);
});

test('whoever joins during a drain is told to come back later, not lost', async () => {
  // In the original, a connection that joined between the first and the last batch was wiped from the map together
  // with the others: open, but unreachable and never closed.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const early = await loopback.connect('early');
  await pool.newConnection(early.connection);

  const drained = pool.drainConnections(10);
  const late = await loopback.connect('late');
  await expect(pool.newConnection(late.connection)).rejects.toMatchObject({ code: 'ERR_POOL_DRAINING' });
  expect(await late.client.closed).toMatchObject({ code: 1013 });
  await drained;
});

test('a duplicate id does not silently take the place of a live connection', async () => {
  // In the original the second connection overwrote the first in the map, which went on, open and unreachable.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [first, second] = [await loopback.connect('same'), await loopback.connect('same')];
  await pool.newConnection(first.connection);

  await expect(pool.newConnection(second.connection)).rejects.toMatchObject({
    name: 'ConnectionsError',
    code: 'ERR_DUPLICATE_CONNECTION',
  });
  expect(pool.getConnection('default', 'same')).toBe(first.connection);
  expect(second.connection.closed).toBe(false);
  await pool.send('default', 'same', 'for the first');
  expect(await first.client.exactly(1)).toEqual(['for the first']);
  await second.client.roundTrip();
  expect(second.client.inbox).toEqual([]);
});

test('the late close of a replaced connection does not evict the one that took its place', async () => {
  // A phone changes networks and reconnects under its id; minutes later the old socket times out. The original
  // removed by id: the new connection vanished from the pool while it was open.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const onEmpty = vi.fn();
  const old = await loopback.connect('phone');
  await pool.newConnection(old.connection);
  const oldHasLeft = new Promise<void>((resolve) => {
    old.socket.on('close', () => void pool.removeConnection(old.connection, onEmpty).then(resolve));
  });
  old.client.socket.pause();

  const next = await loopback.connect('phone');
  await pool.newConnection(next.connection);
  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
  old.client.socket.resume();
  expect(await old.client.closed).toMatchObject({ code: 4409 });
  await oldHasLeft;

  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
  expect(onEmpty).not.toHaveBeenCalled();
  await expect(pool.send('default', 'phone', 'hello')).resolves.toBe(true);
  expect(await next.client.next()).toBe('hello');
});

test('the close of a connection that was removed by hand does not evict the next holder of its id', async () => {
  // The same eviction without a policy: removed, its id taken by another, and only then closed.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const [old, next] = [await loopback.connect('phone'), await loopback.connect('phone')];
  await pool.newConnection(old.connection);
  await pool.removeConnection(old.connection);
  await pool.newConnection(next.connection);
  await old.connection.close();
  await pool.removeConnection(old.connection);
  expect(pool.getConnection('default', 'phone')).toBe(next.connection);
});

test('reads create no namespace', async () => {
  // In the original `namespace(name)` made what it did not find. Where the name came from a URL, whoever asked for
  // random ones filled the memory of the process.
  const pool = new ConnectionsPool();
  const stranger = connectInMemory('1', 'elsewhere').connection;
  for (const name of ['a', 'b', '__proto__', 'constructor', '']) {
    pool.namespace(name);
    pool.hasNamespace(name);
    pool.getConnection(name, '1');
    await pool.send(name, '1', 'x');
    await pool.sendJson(name, '1', 'x');
    await pool.sendError(name, '1', 'x');
    await pool.sendThenClose(name, '1', 'x');
    await pool.sendJsonThenClose(name, '1', 'x');
    await pool.sendErrorThenClose(name, '1', 'x');
    await pool.close(name, '1');
    await pool.closeAll(name);
    await pool.broadcastMessage(name, 'x', ['1']);
    await pool.broadcastJsonMessage(name, 'x');
    await pool.broadcastError(name, 'x', 4000);
  }
  await pool.removeConnection(stranger);
  // Nor does a map that was handed out become one by being written to.
  pool.namespace('a').set('1', stranger);
  expect(pool.hasNamespace('a')).toBe(false);
  expect(pool.connections.size).toBe(0);
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
});

test('onEmptyNamespace stays silent for a connection that is unknown or has been removed already', async () => {
  // The original asked whether the namespace was empty after any removal: for a connection that had never joined
  // and for the second of two removals it was, and what the callback tore down was torn down twice.
  const pool = new ConnectionsPool();
  const onEmpty = vi.fn();
  const { connection } = connectInMemory('1');
  await pool.removeConnection(connection, onEmpty);
  expect(onEmpty).not.toHaveBeenCalled();

  await pool.newConnection(connection);
  await pool.removeConnection(connection, onEmpty);
  await pool.removeConnection(connection, onEmpty);
  expect(onEmpty).toHaveBeenCalledTimes(1);
});

test('pool.send resolves with what the send did, once it has done it', async () => {
  // The original returned before the handler had run and said nothing of its outcome.
  const pool = new ConnectionsPool();
  const pending: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const connection = new Connection('1', 'default', new MemorySocket(), {
    send: () => new Promise((resolve, reject) => pending.push({ resolve, reject })),
    close: () => undefined,
  });
  const errors: Error[] = [];
  connection.on('error', (error) => errors.push(error));
  await pool.newConnection(connection);

  const accepted = pool.send('default', '1', 'one');
  const refused = pool.send('default', '1', 'two');
  const failed = pool.send('default', '1', 'three');
  const state = watch(accepted);
  await new Promise((resolve) => setImmediate(resolve));
  expect(state.isSettled).toBe(false);
  pending[0]!.resolve(undefined);
  pending[1]!.resolve(false);
  pending[2]!.reject(new Error('no route'));
  await expect(accepted).resolves.toBe(true);
  await expect(refused).resolves.toBe(false);
  await expect(failed).resolves.toBe(false);
  expect(errors).toEqual([new Error('no route')]);

  await expect(pool.send('default', 'nobody', 'x')).resolves.toBe(false);
});

describe('un-awaited calls', () => {
  test('end in no unhandled rejection when sockets fail and peers vanish', async () => {
    // The original started promises without waiting for them: one socket that failed at the wrong moment ended the
    // process for everybody.
    const { reasons, settle } = watchUnhandled();
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const gone = await loopback.connect('gone');
    await pool.newConnection(gone.connection);
    gone.socket.terminate();
    const broken = new MemorySocket();
    broken.send = () => {
      throw new Error('EPIPE');
    };
    broken.close = () => {
      throw new Error('EPIPE');
    };
    const brokenConnection = connectInMemory('broken', 'default', broken).connection;
    void pool.newConnection(brokenConnection);
    const rejecting = new Connection('rejecting', 'default', new MemorySocket(), {
      send: () => Promise.reject(new Error('send failed')),
      close: () => Promise.reject(new Error('close failed')),
    });
    void pool.newConnection(rejecting);
    void pool.newConnection(connectInMemory('rejecting').connection);

    for (const id of ['gone', 'broken', 'rejecting', 'nobody']) {
      void pool.send('default', id, 'x');
      void pool.sendJson('default', id, {});
      void pool.sendError('default', id, 'x');
    }
    void pool.broadcastMessage('default', 'x');
    void pool.broadcastError('default', 'x', 4000);
    void gone.connection.send('x');
    void gone.connection.sendErrorThenClose('x');
    void gone.connection.close();
    void brokenConnection.sendThenClose('x');
    void rejecting.sendThenClose('x');
    void pool.closeAll('default');
    void pool.drainConnections();
    void pool.newConnection(connectInMemory('late').connection);
    await settle();
    await vi.waitFor(() => expect(pool.stats().connections).toBe(0), 4_000);
    await settle();
    expect(reasons).toEqual([]);
  });

  test('of newConnection under a taken id end in no unhandled rejection either', async () => {
    // Which clients come twice is not in the hands of who writes `pool.newConnection(connection)` in a handler.
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool();
    void pool.newConnection(connectInMemory('same').connection);
    void pool.newConnection(connectInMemory('same').connection);
    await settle();
    expect(reasons).toEqual([]);
  });
});

test('a broadcast encodes its JSON once, however many get it', async () => {
  // The original called JSON.stringify for each recipient.
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const pairs = await connectMany(loopback, ['1', '2', '3']);
  for (const { connection } of pairs) await pool.newConnection(connection);
  const value = { toJSON: vi.fn(() => ({ encoded: value.toJSON.mock.calls.length })) };

  await pool.broadcastJsonMessage('default', value);
  for (const { client } of pairs) expect(await client.exactly(1)).toEqual(['{"encoded":1}']);
  expect(value.toJSON).toHaveBeenCalledTimes(1);

  value.toJSON.mockClear();
  await pool.broadcastError('default', value);
  for (const { client } of pairs) expect(await client.exactly(1)).toEqual(['{"encoded":1}']);
});

test('exceptions are read once and not searched for each recipient', async () => {
  // The original called `exceptions.includes(id)` for each recipient: 10,000 members with 1,000 exceptions were ten
  // million comparisons.
  const pool = new ConnectionsPool();
  const pairs = Array.from({ length: 40 }, (_, n) => connectInMemory(`${n}`));
  for (const { connection } of pairs) await pool.newConnection(connection);
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

describe('an error that ends a connection', () => {
  test('closes it once', async () => {
    // In the original `sendErrorThenClose` closed through `sendError` and then by itself; the second close came
    // with other arguments, and to handlers that close something else it came twice.
    const calls: unknown[][] = [];
    class Counting extends Connection<string, string, MemorySocket> {
      override async close(code?: number, reason?: string): Promise<void> {
        calls.push([code, reason]);
        await super.close(code, reason);
      }
    }
    const fatal = [
      (connection: Counting) => connection.sendErrorThenClose('bye', 4001, 'Fatal'),
      (connection: Counting) => connection.sendError('bye', 4001, 'Fatal'),
    ];
    for (const end of fatal) {
      calls.length = 0;
      const socket = new MemorySocket();
      await expect(end(new Counting('1', 'default', socket))).resolves.toBe(true);
      expect(calls).toEqual([[4001, 'Fatal']]);
      expect(socket.closes).toEqual([{ code: 4001, reason: 'Fatal' }]);
      expect(socket.sent).toEqual(['bye']);
    }
  });

  test('reaches a real client before the one close', async () => {
    // As above, seen from the other side.
    const loopback = await Loopback.start();
    const { client, connection } = await loopback.connect('1');
    const sent = connection.sendErrorThenClose({ error: 'quota' }, 4001, 'Quota');
    expect(await client.next()).toBe('{"error":"quota"}');
    expect(await client.closed).toEqual({ code: 4001, reason: 'Quota' });
    await expect(sent).resolves.toBe(true);
  });
});

describe('a code or reason that ws refuses', () => {
  const tooLong = 'é'.repeat(62);
  const refused: readonly [name: string, code: number, reason: string][] = [
    ['0', 0, ''],
    ['999', 999, ''],
    ['1004, reserved', 1004, ''],
    ['1005, never sent', 1005, ''],
    ['1006, never sent', 1006, ''],
    ['1015, never sent', 1015, ''],
    ['2999', 2999, ''],
    ['5000', 5000, ''],
    ['NaN', NaN, ''],
    ['a fraction', 1000.5, ''],
    ['a reason of 124 bytes in 62 characters', 1000, tooLong],
    ['a reason of 124 characters', 4000, 'x'.repeat(124)],
  ];

  test.each(refused)('(%s) is refused and leaves the connection as it was', async (_name, code, reason) => {
    // `ws` 8.21 checks these after it has set its state to closing: such a socket never closes and never sends
    // again. The original passed everything on.
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const { client, connection, socket } = await loopback.connect('1');
    await pool.newConnection(connection);
    const calls = [
      connection.close(code, reason),
      connection.sendThenClose('x', code, reason),
      connection.sendJsonThenClose('x', code, reason),
      connection.sendErrorThenClose('x', code, reason),
      connection.sendError('x', code, reason),
      pool.close('default', '1', code, reason),
      pool.closeAll('default', code, reason),
      pool.sendThenClose('default', '1', 'x', code, reason),
      pool.sendJsonThenClose('default', '1', 'x', code, reason),
      pool.sendErrorThenClose('default', '1', 'x', code, reason),
      pool.sendError('default', '1', 'x', code, reason),
      pool.broadcastError('default', 'x', code, reason),
      pool.drainConnections(10, reason, code),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(RangeError) as RangeError });
    }
    expect(socket.readyState).toBe(READY_STATE_OPEN);
    expect(connection.closed).toBe(false);
    expect(pool.draining).toBe(false);
    expect(pool.getConnection('default', '1')).toBe(connection);

    await expect(connection.send('still fine')).resolves.toBe(true);
    expect(await client.exactly(1)).toEqual(['still fine']);
    await connection.close(4000, 'x'.repeat(123));
    expect(await client.closed).toEqual({ code: 4000, reason: 'x'.repeat(123) });
  });
});
