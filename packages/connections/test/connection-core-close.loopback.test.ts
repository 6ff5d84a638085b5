import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocket, type ServerOptions } from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { Loopback } from './support/loopback.js';
import { connectMute } from './support/raw-client.js';

/** A short grace period, because the peers here never answer, in ms. */
const CLOSE_TIMEOUT_MS = 100;

/** A member of a pool with a short grace period, whose peer never answers a close frame. */
async function connectMuteMember() {
  const { client, socket } = await connectMute(await Loopback.start());
  const pool = new ConnectionsPool({ closeTimeout: CLOSE_TIMEOUT_MS });
  const connection = new Connection('mute', 'default', socket);
  await pool.newConnection(connection);
  return { client, socket, pool, connection };
}

describe('close()', () => {
  test('everything that was sent or broadcast before a close goes first, and nothing after it', async () => {
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
      { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 },
      true,
      true,
      { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 },
      false,
    ]);
    await closed;
    await client.closed;
    expect(client.inbox).toEqual(['1', '2', Buffer.from('3'), '{"n":4}', '5']);
  });

  test('close() resolves when the socket has closed, and not before', async () => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    // The client does not answer until it reads again.
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

  test('a second close() changes nothing, and both resolve with the first one', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    await Promise.all([connection.close(4000, 'first'), connection.close(4001, 'second')]);
    await connection.close(4002, 'third');
    connection.terminate();
    expect(await client.closed).toEqual({ code: 4000, reason: 'first' });
    expect(closes).toEqual([[4000, 'first']]);
  });

  test('a second close() is checked like the first one', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    await connection.close();
    await expect(connection.close(999)).rejects.toThrow(RangeError);
  });
});

describe('a peer that does not answer', () => {
  test('a peer that does not answer a close is terminated after the grace period and reports 1006', async () => {
    const { client, connection, pool } = await connectMuteMember();
    const closes = closesOf(connection);
    const ended = once(client, 'close');
    await connection.close(4000, 'bye');
    await ended;
    expect(closes).toEqual([[1006, '']]);
    expect(pool.hasNamespace('default')).toBe(false);
  });

  test('every promise of a close resolves although the peer does not answer', async () => {
    const { connection } = await connectMuteMember();
    await Promise.all([
      connection.close(4000),
      connection.close(4001),
      connection.sendThenClose('x'),
      connection.sendErrorThenClose('x'),
    ]);
    expect(connection.closed).toBe(true);
  });

  test('a peer that does not answer a close is counted as terminated', async () => {
    const { connection, pool } = await connectMuteMember();
    await connection.close();
    expect(pool.stats().terminated).toBe(1);
  });

  test('terminate() after close() does not wait for the grace period', async () => {
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
  test('terminate() ends the connection at once, without a close frame', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    connection.terminate();
    expect(connection.closed).toBe(true);
    expect(await connection.send('x')).toBe(false);
    expect(await closed).toEqual([1006, '']);
    expect((await client.closed).code).toBe(1006);
  });

  test('close() after terminate() resolves when the socket has closed', async () => {
    const { socket, connection } = await (await Loopback.start()).connect('1');
    connection.terminate();
    await connection.close(4000);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
  });

  test('terminate() and close() in one turn cause one close event, and every promise settles', async () => {
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

  test('terminate() fails what still waits for the end of the turn', async () => {
    const { connection } = await (await Loopback.start()).connect('1');
    const pool = new ConnectionsPool();
    await pool.newConnection(connection);
    const result = pool.broadcastMessage('default', 'x');
    connection.terminate();
    expect(await result).toEqual({ recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 });
  });
});

describe('a close from the peer', () => {
  test.each([
    [undefined, 1005],
    [1000, 1000],
    [1011, 1011],
    [3000, 3000],
    [4999, 4999],
  ])('a close of the peer with code %s is reported as %i', async (code, reported) => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    client.socket.close(code, code === undefined ? undefined : 'bye');
    expect(await closed).toEqual([reported, code === undefined ? '' : 'bye']);
  });

  test('a peer that disconnects without a close frame is reported as 1006', async () => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    client.socket.terminate();
    expect(await closed).toEqual([1006, '']);
  });

  test('a broken frame is an error event and a close', async () => {
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

  test('closed is true as soon as the peer begins to close, before the close event', async () => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    const closes = closesOf(connection);
    const concluded = new Promise<boolean>((resolve) => {
      // The receiver of `ws` has got the close frame, and has not answered it yet.
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

// `ws` began a timer of its own with each close, 30 s by default: no longer grace period was kept.
test('a silent peer has all of closeTimeout to answer a close, even if the ws server allows it less', async () => {
  const { socket } = await connectMute(await Loopback.start({ closeTimeout: 1 } as ServerOptions));
  const pool = new ConnectionsPool({ closeTimeout: 300 });
  const connection = new Connection('mute', 'default', socket);
  await pool.newConnection(connection);
  await connection.close(4000);
  expect(pool.stats().terminated).toBe(1);
});
