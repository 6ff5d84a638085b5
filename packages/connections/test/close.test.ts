import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory } from './support/memory-socket.js';
import { connectMute } from './support/raw-client.js';
import { watchUnhandled } from './support/unhandled.js';

/** Short grace period, so that peers that never answer do not hold up the tests, in ms. */
const CLOSE_TIMEOUT_MS = 100;

/** A member of a pool with a short grace period, whose peer never answers a close frame. */
async function connectMuteMember() {
  const { client, socket } = await connectMute(await Loopback.start());
  const pool = new ConnectionsPool({ closeTimeout: CLOSE_TIMEOUT_MS });
  const connection = new Connection('mute', 'default', socket);
  await pool.newConnection(connection);
  return { client, socket, pool, connection };
}

/** The close events of a connection, as they come. */
function closesOf(connection: Connection): [number, string][] {
  const closes: [number, string][] = [];
  connection.on('close', (...args) => closes.push(args));
  return closes;
}

// First in the file: the sockets of other tests may still hold the wheel, by the real clock, when they have ended.
describe('a terminated socket that does not say that it is closed', () => {
  useFakeClock();

  test('is given up after a second, and not before', async () => {
    const { connection, socket } = connectInMemory();
    socket.terminate = () => undefined;
    const closes = closesOf(connection);
    connection.terminate();
    const closed = connection.close();
    await vi.advanceTimersByTimeAsync(999);
    expect(closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(201);
    expect(closes).toEqual([[1006, '']]);
    await closed;
  });
});

describe('codes and reasons', () => {
  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    '%i arrives at the client with its reason',
    async (code) => {
      const { client, connection } = await (await Loopback.start()).connect('1');
      const closed = once(connection, 'close');
      await connection.close(code, 'why');
      expect(await client.closed).toEqual({ code, reason: 'why' });
      expect(await closed).toEqual([code, 'why']);
    },
  );

  const tooLong = 'x'.repeat(124);
  const refused: [unknown, unknown, ErrorConstructor][] = [
    ...[-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, 1000.5, NaN, Infinity].map(
      (code): [number, string, ErrorConstructor] => [code, '', RangeError],
    ),
    ...['1000', null, 1000n, {}, true].map((code): [unknown, string, ErrorConstructor] => [
      code,
      '',
      TypeError,
    ]),
    ...[null, 1, Buffer.from('x'), {}].map((reason): [number, unknown, ErrorConstructor] => [
      1000,
      reason,
      TypeError,
    ]),
    [1000, tooLong, RangeError],
    [4000, 'é'.repeat(62), RangeError],
  ];

  // ws 8.21 takes the socket for closing before it looks at the reason: a refused close left it stuck for ever.
  test.each(refused)('code %s with reason %j is refused, and the socket is unharmed', async (...args) => {
    const [code, reason, error] = args;
    const { client, connection } = await (await Loopback.start()).connect('1');
    await expect(connection.close(code as number, reason as string)).rejects.toThrow(error);
    await expect(connection.sendThenClose('x', code as number, reason as string)).rejects.toThrow(error);
    await expect(connection.sendError('x', code as number, reason as string)).rejects.toThrow(error);

    expect(connection.closed).toBe(false);
    expect(await connection.send('still here')).toBe(true);
    expect(await client.exactly(1)).toEqual(['still here']);
    await connection.close(4000, 'bye');
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
  });

  test.each(['x'.repeat(123), `${'é'.repeat(61)}x`, ''])(
    'a reason of 123 bytes or none goes out',
    async (reason) => {
      const { client, connection } = await (await Loopback.start()).connect('1');
      await connection.close(1000, reason);
      expect(await client.closed).toEqual({ code: 1000, reason });
    },
  );

  test('the defaults are 1000 without a reason', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    await connection.close();
    expect(await client.closed).toEqual({ code: 1000, reason: '' });
  });
});

describe('order and outcome', () => {
  test('everything that was sent or broadcast before goes first, and nothing after', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const pool = new ConnectionsPool();
    await pool.newConnection(connection);
    const sent = [
      connection.send('1'),
      pool.broadcastMessage('default', '2'),
      connection.send(new Blob(['3'])),
      connection.sendJson({ n: 4 }),
      pool.broadcastMessage('default', '5'),
    ];
    const closed = connection.close(4000);
    sent.push(connection.send('too late'));

    expect(await Promise.all(sent)).toEqual([
      true,
      { recipients: 1, sent: 1, dropped: 0, failed: 0 },
      true,
      true,
      { recipients: 1, sent: 1, dropped: 0, failed: 0 },
      false,
    ]);
    await closed;
    await client.closed;
    expect(client.inbox).toEqual(['1', '2', Buffer.from('3'), '{"n":4}', '5']);
  });

  test('the promise resolves when the socket has closed, not before', async () => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    // The client holds back its answer until it reads on.
    client.socket.pause();
    let isResolved = false;
    const closed = connection.close().then(() => (isResolved = true));
    const other = await (await Loopback.start()).pair();
    await other.client.roundTrip();
    expect(isResolved).toBe(false);
    expect(connection.closed).toBe(true);
    client.socket.resume();
    await closed;
    expect(socket.readyState).toBe(WebSocket.CLOSED);
  });

  test('a second close changes nothing, and both resolve with the first', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    await Promise.all([connection.close(4000, 'first'), connection.close(4001, 'second')]);
    await connection.close(4002, 'third');
    connection.terminate();
    expect(await client.closed).toEqual({ code: 4000, reason: 'first' });
    expect(closes).toEqual([[4000, 'first']]);
  });

  test('a second close is checked like the first', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    await connection.close();
    await expect(connection.close(999)).rejects.toThrow(RangeError);
  });
});

describe('a peer that does not answer', () => {
  test('is terminated after the grace period, and reports 1006', async () => {
    const { client, connection, pool } = await connectMuteMember();
    const closes = closesOf(connection);
    const ended = once(client, 'close');
    await connection.close(4000, 'bye');
    await ended;
    expect(closes).toEqual([[1006, '']]);
    expect(pool.hasNamespace('default')).toBe(false);
  });

  test('keeps no close waiting: each promise of it resolves', async () => {
    const { connection } = await connectMuteMember();
    await Promise.all([
      connection.close(4000),
      connection.close(4001),
      connection.sendThenClose('x'),
      connection.sendErrorThenClose('x'),
    ]);
    expect(connection.closed).toBe(true);
  });

  test('is counted as terminated', async () => {
    const { connection, pool } = await connectMuteMember();
    await connection.close();
    expect(pool.stats().terminated).toBe(1);
  });

  test('does not wait for the grace period when terminate() follows', async () => {
    const { client, socket } = await connectMute(await Loopback.start());
    // No pool: the grace period is 10 s, more than this test may take.
    const connection = new Connection('1', 'default', socket);
    const closes = closesOf(connection);
    const ended = once(client, 'close');
    const closed = connection.close(4000, 'bye');
    connection.terminate();
    await closed;
    await ended;
    expect(closes).toEqual([[1006, '']]);
  });
});

describe('terminate()', () => {
  test('ends the connection at once, without a close frame', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    connection.terminate();
    expect(connection.closed).toBe(true);
    expect(await connection.send('x')).toBe(false);
    expect(await closed).toEqual([1006, '']);
    expect((await client.closed).code).toBe(1006);
  });

  test('makes a close() behind it resolve when the socket is closed', async () => {
    const { socket, connection } = await (await Loopback.start()).connect('1');
    connection.terminate();
    await connection.close(4000);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
  });

  test('beside close() in one turn: one close event, and every promise settles', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    const sent = connection.send('x');
    const closed = [connection.close(4000), connection.sendThenClose('y')];
    connection.terminate();
    connection.terminate();
    expect(await sent).toBe(true);
    expect(await Promise.all(closed)).toEqual([undefined, false]);
    expect(closes).toEqual([[1006, '']]);
  });

  test('fails what still waits for the end of the turn', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    const pool = new ConnectionsPool();
    await pool.newConnection(connection);
    const result = pool.broadcastMessage('default', 'x');
    connection.terminate();
    expect(await result).toEqual({ recipients: 1, sent: 0, dropped: 0, failed: 1 });
  });
});

describe('a slow reader in no pool', () => {
  /** What may wait for a connection by default, in bytes. */
  const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

  test('is closed with 1013 when more than 16 MiB would wait for it', async () => {
    const { connection, socket } = connectInMemory();
    socket.bufferedAmount = MAX_BUFFERED_BYTES - 100;
    expect(await connection.send('fits')).toBe(true);
    socket.bufferedAmount = MAX_BUFFERED_BYTES;
    expect(await connection.send('one too many')).toBe(false);
    expect(connection.closed).toBe(true);
    expect(socket.sent).toEqual(['fits']);
    expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
  });
});

describe('a close from the peer', () => {
  test.each([
    [undefined, 1005],
    [1000, 1000],
    [1011, 1011],
    [3000, 3000],
    [4999, 4999],
  ])('with code %s is reported as %i', async (code, reported) => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    client.socket.close(code, code === undefined ? undefined : 'bye');
    expect(await closed).toEqual([reported, code === undefined ? '' : 'bye']);
  });

  test('without a close frame is reported as 1006', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    client.socket.terminate();
    expect(await closed).toEqual([1006, '']);
  });

  test('by a broken frame is an error event and a close', async () => {
    const { client, socket } = await connectMute(await Loopback.start());
    const connection = new Connection('1', 'default', socket);
    const errors: Error[] = [];
    connection.on('error', (error) => errors.push(error));
    const closed = new Promise((resolve) => connection.on('close', (...args) => resolve(args)));
    // Reserved bits without an extension, and no mask (RFC 6455 §5.2).
    client.write(Buffer.from([0xf1, 0x00]));
    client.end();
    expect(await closed).toEqual([1006, '']);
    expect(errors).toEqual([expect.any(RangeError)]);
  });

  test('makes `closed` true as soon as it starts, before the close event', async () => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    const concluded = new Promise<boolean>((resolve) => {
      // The receiver of `ws` has the close frame, its answer is not out yet.
      const receiver = (socket as unknown as { _receiver: NodeJS.EventEmitter })._receiver;
      receiver.once('conclude', () => resolve(connection.closed));
    });
    client.socket.close(4000);
    expect(await concluded).toBe(true);
    expect(closes).toEqual([]);
    expect(await connection.send('x')).toBe(false);
    await connection.close(4001);
    expect(closes).toEqual([[4000, '']]);
  });
});

describe('sendThenClose and its kin', () => {
  test.each<[string, (connection: Connection) => Promise<boolean>, string, number, string]>([
    ['sendThenClose', (c) => c.sendThenClose('text'), 'text', 1000, ''],
    ['sendThenClose with a code', (c) => c.sendThenClose('text', 4000, 'bye'), 'text', 4000, 'bye'],
    ['sendJsonThenClose', (c) => c.sendJsonThenClose({ n: 1 }), '{"n":1}', 1000, ''],
    ['sendJsonThenClose with a code', (c) => c.sendJsonThenClose([1], 4000, 'bye'), '[1]', 4000, 'bye'],
    ['sendErrorThenClose', (c) => c.sendErrorThenClose('oops'), 'oops', 1011, ''],
    ['sendErrorThenClose of a value', (c) => c.sendErrorThenClose({ e: 1 }), '{"e":1}', 1011, ''],
    ['sendErrorThenClose with a code', (c) => c.sendErrorThenClose('e', 4000, 'bye'), 'e', 4000, 'bye'],
    ['sendError with a code', (c) => c.sendError('e', 4000, 'bye'), 'e', 4000, 'bye'],
  ])('%s sends, then closes once', async (_, call, message, code, reason) => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    const sent = call(connection);
    void connection.send('between');
    expect(await sent).toBe(true);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
    expect(await client.closed).toEqual({ code, reason });
    expect(client.inbox).toEqual([message]);
    expect(closes).toEqual([[code, reason]]);
  });

  test('sendError without a code leaves the connection open', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    expect(await connection.sendError('text')).toBe(true);
    expect(await connection.sendError({ code: 1 })).toBe(true);
    expect(await connection.sendError(Buffer.from('bytes'))).toBe(true);
    expect(await client.exactly(3)).toEqual(['text', '{"code":1}', Buffer.from('bytes')]);
    expect(connection.closed).toBe(false);
  });

  test('neither sends nor closes when the message or the code cannot go out', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    await expect(connection.sendThenClose(1 as never)).rejects.toThrow(TypeError);
    await expect(connection.sendJsonThenClose(undefined)).rejects.toThrow(TypeError);
    await expect(connection.sendErrorThenClose(() => 1)).rejects.toThrow(TypeError);
    await expect(connection.sendThenClose('x', 1006)).rejects.toThrow(RangeError);
    await expect(connection.sendJsonThenClose({}, 1006)).rejects.toThrow(RangeError);
    await expect(connection.sendErrorThenClose('x', 1000, 'x'.repeat(124))).rejects.toThrow(RangeError);
    await expect(connection.sendError('x', 1006)).rejects.toThrow(RangeError);
    expect(connection.closed).toBe(false);
    await client.exactly(0);
  });

  test('through a pool resolve false when nobody has the id', async () => {
    const pool = new ConnectionsPool();
    expect(await pool.sendThenClose('default', 'nobody', 'x')).toBe(false);
    expect(await pool.sendJsonThenClose('default', 'nobody', {})).toBe(false);
    expect(await pool.sendErrorThenClose('default', 'nobody', 'x')).toBe(false);
  });

  test('broadcastError with a code closes those who get it, without a reason of its own, and no exception', async () => {
    const pool = new ConnectionsPool();
    const [one, spared] = [connectInMemory('1'), connectInMemory('2')];
    for (const { connection } of [one, spared]) await pool.newConnection(connection);
    expect(await pool.broadcastError('default', 'fatal', 4000, undefined, ['2'])).toMatchObject({ sent: 1 });
    expect([one, spared].map(({ socket }) => socket.sent)).toEqual([['fatal'], []]);
    expect([one, spared].map(({ socket }) => socket.closes)).toEqual([[{ code: 4000, reason: '' }], []]);
    expect(spared.connection.closed).toBe(false);
  });

  test('on a closed connection resolve false', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    await connection.close();
    expect(await connection.sendThenClose('x')).toBe(false);
    expect(await connection.sendJsonThenClose({})).toBe(false);
    expect(await connection.sendErrorThenClose('x')).toBe(false);
    expect(await connection.sendError('x', 4000)).toBe(false);
  });
});

describe('a network that fails', () => {
  /** Everything that a server does without awaiting it. */
  function useUnawaited(pool: ConnectionsPool, connection: Connection): void {
    const { namespace, id } = connection;
    void connection.send('x');
    void connection.send(new Blob(['x']));
    void connection.sendJson({ x: 1 });
    void connection.sendError({ x: 1 });
    void pool.send(namespace, id, 'x');
    void pool.broadcastMessage(namespace, 'x');
    void pool.broadcastJsonMessage(namespace, { x: 1 });
    void pool.broadcastError(namespace, 'x');
  }

  function closeUnawaited(pool: ConnectionsPool, connection: Connection): void {
    const { namespace, id } = connection;
    void connection.sendThenClose('x');
    void connection.sendErrorThenClose('x');
    void pool.close(namespace, id);
    void pool.sendThenClose(namespace, id, 'x');
    void pool.broadcastError(namespace, 'x', 1011);
    void pool.closeAll(namespace);
    void connection.close();
  }

  /** Nobody listens for `error`: a socket error must not be thrown for want of a listener either. */
  async function joinTwo() {
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool({ closeTimeout: CLOSE_TIMEOUT_MS });
    const { client, socket } = await connectMute(loopback);
    const dying = new Connection('dying', 'default', socket);
    const alive = await loopback.connect('alive');
    await Promise.all([pool.newConnection(dying), pool.newConnection(alive.connection)]);
    return { pool, client, dying, alive };
  }

  // A client that vanished between two sends ended the process by an unhandled rejection.
  test('a reset in the middle of un-awaited sends is no unhandled rejection', async () => {
    const unhandled = watchUnhandled();
    const { pool, client, dying, alive } = await joinTwo();
    const closed = once(dying, 'close') as Promise<[number, string]>;

    useUnawaited(pool, dying);
    client.resetAndDestroy();
    useUnawaited(pool, dying);
    await alive.client.roundTrip();
    useUnawaited(pool, dying);
    closeUnawaited(pool, dying);
    const [code] = await closed;
    useUnawaited(pool, dying);
    closeUnawaited(pool, dying);

    expect(code).toBe(1006);
    expect(await unhandled.settle()).toEqual([]);
    expect(pool.getConnection('default', 'dying')).toBeUndefined();
  });

  test('a reset while the close frame waits for its answer ends the close', async () => {
    const unhandled = watchUnhandled();
    const { pool, client, dying } = await joinTwo();
    const closes = closesOf(dying);
    closeUnawaited(pool, dying);
    client.resetAndDestroy();
    await dying.close();
    expect(closes).toEqual([[1006, '']]);
    expect(await unhandled.settle()).toEqual([]);
  });

  test('a reset of one client takes nothing from the others', async () => {
    const { pool, client, dying, alive } = await joinTwo();
    client.resetAndDestroy();
    await pool.broadcastMessage('default', 'before');
    await dying.close();
    const result = await pool.broadcastMessage('default', 'after');
    expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0 });
    expect(await alive.client.exactly(2)).toEqual(['before', 'after']);
  });
});
