import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ConnectionsPool, type ConnectionsPoolOptions, type WebSocketMessage } from '../../src/index.js';
import { record } from '../support/record.js';
import { socketKinds, type AnySocketConnection, type Link } from '../support/socket-kinds.js';

/*
 * What is true for every kind of socket. If a kind cannot do something, its row of the table says so, and the test then
 * states what happens instead.
 */
describe.each(Object.entries(socketKinds))('a connection over %s', (name, kind) => {
  async function join(options: ConnectionsPoolOptions<AnySocketConnection> = {}) {
    const link = await kind.connect();
    const pool = new ConnectionsPool<WebSocketMessage, AnySocketConnection>(options);
    await pool.newConnection(link.connection);
    return { ...link, pool };
  }

  /** Waits until the connection has closed; fails if it emits close twice. */
  async function closeOf({ connection }: Pick<Link, 'connection'>): Promise<unknown[]> {
    const closes = record(connection).filter(([event]) => event === 'close');
    const [code, reason] = (await once(connection, 'close')) as [number, string];
    await nextTurn();
    await nextTurn();
    expect(closes).toEqual([]);
    return [code, reason];
  }

  test(`a string is sent as text, and bytes of any type as binary: ${name}`, async () => {
    const { connection, arrived } = await kind.connect();
    const bytes = Uint8Array.from([0, 1, 2, 255]);
    const messages: WebSocketMessage[] = ['grüße 👋', Buffer.from(bytes), bytes, bytes.buffer];
    for (const message of messages) expect(await connection.send(message)).toBe(true);
    expect(await arrived()).toEqual(['grüße 👋', ...[1, 2, 3].map(() => Buffer.from(bytes))]);
  });

  test(`a broadcast string is sent as text, and broadcast bytes as binary: ${name}`, async () => {
    const { pool, arrived } = await join();
    const bytes = Uint8Array.from([0, 1, 2, 255]);
    for (const message of ['grüße 👋', Buffer.from(bytes), bytes, bytes.buffer] as const) {
      const result = await pool.broadcastMessage('default', message);
      expect(result).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
    }
    expect(await arrived()).toEqual(['grüße 👋', ...[1, 2, 3].map(() => Buffer.from(bytes))]);
  });

  test(`empty messages are sent: ${name}`, async () => {
    const { connection, pool, arrived } = await join();
    expect(await connection.send('')).toBe(true);
    expect(await connection.send(new Uint8Array(0))).toBe(true);
    expect(await pool.broadcastMessage('default', '')).toMatchObject({ sent: 1 });
    expect(await arrived()).toEqual(['', Buffer.alloc(0), '']);
  });

  test.runIf(kind.sendsBlobs)(`a Blob is sent as binary, in order: ${name}`, async () => {
    const { connection, pool, arrived } = await join();
    const sent = [
      connection.send(new Blob(['one'])),
      connection.send('two'),
      pool.broadcastMessage('default', new Blob(['three'])),
      connection.send('four'),
    ];
    await Promise.all(sent);
    expect(await arrived()).toEqual([Buffer.from('one'), 'two', Buffer.from('three'), 'four']);
  });

  test(`private messages and broadcasts arrive in the order of the calls: ${name}`, async () => {
    const { connection, pool, arrived } = await join();
    const results = [
      pool.broadcastMessage('default', 'a'),
      connection.send('b'),
      pool.broadcastMessage('default', Buffer.from('c')),
      pool.broadcastMessage('default', 'not for 1', ['1']),
      connection.send(Buffer.from('d')),
      connection.sendJson({ e: 1 }),
      pool.broadcastJsonMessage('default', 'f'),
      connection.send('g'),
    ];
    await Promise.all(results);
    expect(await arrived()).toEqual(['a', 'b', Buffer.from('c'), Buffer.from('d'), '{"e":1}', '"f"', 'g']);
  });

  test(`messages to the rooms of a connection arrive among its others, in the order of the calls: ${name}`, async () => {
    const { connection, pool, arrived } = await join();
    connection.join(['red', 'blue']);
    const results = [
      pool.broadcastMessage('default', 'a', { rooms: 'red' }),
      pool.broadcastMessage('default', 'b'),
      connection.send('c'),
      pool.broadcastMessage('default', 'd', { rooms: ['red', 'blue'] }),
      pool.broadcastMessage('default', 'not for it', { rooms: 'green' }),
      pool.broadcastMessage('default', 'nor this', { rooms: 'red', exceptRooms: 'blue' }),
    ];
    connection.leave('blue');
    results.push(pool.broadcastMessage('default', 'too late', { rooms: 'blue' }));
    await Promise.all(results);
    expect(await arrived()).toEqual(['a', 'b', 'c', 'd']);
  });

  test(`a message that the socket does not take was not sent: ${name}`, async () => {
    const { connection, pool, refuse, arrived } = await join();
    connection.on('error', () => undefined);
    expect(await connection.send('taken')).toBe(true);
    expect(await arrived()).toEqual(['taken']);
    const waiting = pool.broadcastMessage('default', 'a');
    refuse();
    const result = await waiting;
    expect(result).toEqual({ recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 });
    expect(await connection.send('b')).toBe(false);
  });

  test(`text and bytes of the other side arrive, with isBinary: ${name}`, async () => {
    const { connection, say } = await kind.connect();
    const messages: unknown[][] = [];
    connection.on('message', (...args) => messages.push(args));
    say('text');
    say(Buffer.from('bytes'));
    say('');
    await expect.poll(() => messages.length).toBe(3);
    expect(
      messages.map(([data, isBinary]) => [typeof data, Buffer.from(data as string).toString(), isBinary]),
    ).toEqual([
      ['string', 'text', false],
      ['object', 'bytes', true],
      ['string', '', false],
    ]);
    expect(messages[1]![0]).toBeInstanceOf(Uint8Array);
  });

  test(`messages that arrive before the first listener are delivered to it: ${name}`, async () => {
    const { connection, pool, say } = await join();
    say('one');
    say(Buffer.from('two'));
    await nextTurn();
    const messages: string[] = [];
    connection.on('message', (data) => messages.push(Buffer.from(data as string).toString()));
    say('three');
    await expect.poll(() => messages).toEqual(['one', 'two', 'three']);
    expect(pool.stats()).toMatchObject({ messagesReceived: 3, bytesReceived: 11, messagesIgnored: 0 });
  });

  const codes = kind.takesAllCodes ? [1000, 1012, 3000, 4999] : [1000, 3000, 4999];
  test.each(codes)(`close code %i and its reason arrive at the other side: ${name}`, async (code) => {
    const { connection, ended } = await kind.connect();
    await connection.close(code, 'bye');
    expect(await ended()).toEqual({ code, reason: 'bye' });
  });

  test(`everything that was sent before a close arrives, and nothing is sent after it: ${name}`, async () => {
    const { connection, pool, arrived, ended } = await join();
    const sent = [connection.send('a'), pool.broadcastMessage('default', 'b'), connection.send('c')];
    const closed = connection.close(4000);
    expect(connection.closed).toBe(true);
    expect(await connection.send('too late')).toBe(false);
    expect(await Promise.all(sent)).toEqual([
      true,
      { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 },
      true,
    ]);
    await closed;
    await ended();
    expect(await arrived()).toEqual(['a', 'b', 'c']);
  });

  test(`a close of our side is reported once, and the connection leaves the pool: ${name}`, async () => {
    const { connection, pool } = await join();
    const closed = closeOf({ connection });
    await Promise.all([connection.close(4000, 'bye'), connection.close(4001, 'again')]);
    expect(await closed).toEqual([4000, 'bye']);
    expect(pool.stats()).toMatchObject({ connections: 0, closing: 0 });
  });

  test(`a close of the other side is reported once, with its code and reason: ${name}`, async () => {
    const { connection, pool, hangUp } = await join();
    const closed = closeOf({ connection });
    hangUp(4001, 'from there');
    expect(await closed).toEqual([4001, 'from there']);
    expect(connection.closed).toBe(true);
    expect(await connection.send('x')).toBe(false);
    expect(pool.stats().connections).toBe(0);
  });

  test(`no message is delivered once closing has begun: ${name}`, async () => {
    const { connection, pool, say } = await join();
    const messages: unknown[] = [];
    connection.on('message', (message) => messages.push(message));
    say('before');
    await expect.poll(() => messages).toEqual(['before']);
    const closed = connection.close(4000);
    say('after');
    await closed;
    expect(messages).toEqual(['before']);
    expect(pool.stats().messagesReceived).toBe(1);
  });

  test(`terminate() reports 1006 once, and ends the socket if it can: ${name}`, async () => {
    const { connection, pool, ended } = await join();
    const closed = closeOf({ connection });
    connection.terminate();
    connection.terminate();
    expect(connection.closed).toBe(true);
    expect(connection.capabilities.terminate).toBe(kind.terminates);
    expect(await closed).toEqual([1006, '']);
    if (kind.terminates) expect(await ended()).toEqual({ code: 1006, reason: '' });
    expect(pool.stats()).toMatchObject({ connections: 0, terminated: 1, closing: 0 });
  });

  test(`bytes that wait in the socket count, and a drain event is emitted when there is room again: ${name}`, async () => {
    const { connection, pool, stall, resume } = await join({ maxBufferedBytes: 2_000, onSlow: 'drop' });
    expect(connection.capabilities.bufferedAmount).toBe(kind.tellsBuffered);
    stall();
    const outcomes: boolean[] = [];
    for (let i = 0; i < 40; i++) outcomes.push(await connection.send('x'.repeat(100)));
    if (!kind.tellsBuffered) {
      expect(outcomes).not.toContain(false);
      expect(connection.bufferedAmount).toBe(0);
      return;
    }
    expect(outcomes[0]).toBe(true);
    expect(outcomes.at(-1)).toBe(false);
    expect(connection.bufferedAmount).toBeGreaterThan(0);
    expect(connection.bufferedAmount).toBeLessThanOrEqual(2_000);
    expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 1 });
    expect(await pool.broadcastMessage('default', 'x'.repeat(2_000))).toMatchObject({ sent: 0, dropped: 1 });
    const drained = once(connection, 'drain');
    resume();
    await drained;
    expect(pool.stats()).toMatchObject({ slowReaders: 1, slowNow: 0 });
    expect(await connection.send('x')).toBe(true);
  });

  test.runIf(kind.hearsPongs)(`a pong emits a pong event: ${name}`, async () => {
    const { connection, pong } = await kind.connect();
    const heard = once(connection, 'pong');
    pong();
    expect(await heard).toEqual([]);
  });

  test(`a released connection has handed over what was pending, and its socket stays open: ${name}`, async () => {
    const { connection, pool, arrived, say } = await join();
    const events = record(connection);
    const result = pool.broadcastMessage('default', 'a');
    const sent = connection.send('b');
    connection.release();
    expect(await result).toMatchObject({ sent: 1, failed: 0 });
    expect(await sent).toBe(true);
    expect(await arrived()).toEqual(['a', 'b']);
    expect(connection.closed).toBe(true);
    expect(await connection.send('c')).toBe(false);
    say('nobody listens');
    await nextTurn();
    expect(await arrived()).toEqual(['a', 'b']);
    expect(events).toEqual([]);
  });
});
