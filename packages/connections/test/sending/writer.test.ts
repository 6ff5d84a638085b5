import { describe, expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { FakeWsSocket, type FakeAgreement } from '../support/fake-ws-socket.js';
import { MemorySocket } from '../support/memory-socket.js';
import { holdDeflate } from '../support/zlib-spies.js';

const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };
const ONE_FAILED = { recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 };

/** A pool with one connection over a `ws` socket in memory, and the errors that it emits. */
async function poolOfOne(agreement?: FakeAgreement) {
  const pool = new ConnectionsPool({ maxBufferedBytes: 100_000, onSlow: 'drop' });
  const socket = new FakeWsSocket(agreement);
  const connection = new Connection('1', 'default', socket);
  const errors: string[] = [];
  connection.on('error', ({ message }) => errors.push(message));
  await pool.newConnection(connection);
  return { pool, socket, tcp: socket._socket, connection, errors };
}

function breakWrites({ tcp }: { readonly tcp: FakeWsSocket['_socket'] }) {
  return vi.spyOn(tcp, 'write').mockImplementation(() => {
    throw new Error('broken');
  });
}

describe('a write that throws', () => {
  test('a broadcast whose write throws has failed, and ends the connection with the error', async () => {
    const one = await poolOfOne();
    const write = breakWrites(one);
    const result = one.pool.broadcastMessage('default', 'x');
    one.pool.flush();
    const after = one.pool.broadcastMessage('default', 'after');
    expect(await Promise.all([result, after])).toEqual([ONE_FAILED, ONE_FAILED]);
    expect([one.socket.readyState, one.errors]).toEqual([3, ['broken']]);
    expect(write).toHaveBeenCalledTimes(1);
    expect(one.pool.stats()).toMatchObject({ connections: 0, messagesSent: 0, bytesSent: 0 });
  });

  test('a private message whose write throws has failed, and ends the connection with the error', async () => {
    const one = await poolOfOne();
    const write = breakWrites(one);
    expect(await one.connection.send('x')).toBe(false);
    expect(await one.connection.send('after')).toBe(false);
    expect([one.socket.readyState, one.errors]).toEqual([3, ['broken']]);
    expect(write).toHaveBeenCalledTimes(1);
    expect(one.socket.sent).toEqual([]);
    expect(one.pool.stats()).toMatchObject({ connections: 0, messagesSent: 0, bytesSent: 0 });
  });

  test('all messages of one write fail when it throws, and the connection ends with the error', async () => {
    const one = await poolOfOne();
    const write = breakWrites(one);
    const result = one.pool.broadcastMessage('default', 'x');
    const sent = one.connection.send('private');
    expect([await result, await sent]).toEqual([ONE_FAILED, false]);
    expect([one.socket.readyState, one.errors]).toEqual([3, ['broken']]);
    expect(write).toHaveBeenCalledTimes(1);
    expect(one.pool.stats()).toMatchObject({ connections: 0, messagesSent: 0, bytesSent: 0 });
  });
});

describe('the figures', () => {
  test('a private message counts as one message and one write, with the bytes of its frame', async () => {
    const { pool, connection } = await poolOfOne();
    await connection.send('abc');
    expect(pool.stats()).toMatchObject({ writes: 1, messagesSent: 1, bytesSent: 5, wireBytesSent: 5 });
  });

  test('broadcasts around a private message count as one write, with the bytes of all frames', async () => {
    const { pool, connection, tcp } = await poolOfOne();
    void pool.broadcastMessage('default', '1');
    void pool.broadcastMessage('default', '2');
    void connection.send('private');
    const last = pool.broadcastMessage('default', '3');
    expect(await last).toEqual(ONE_SENT);
    const bytes = { bytesSent: 3 * 3 + 9, wireBytesSent: 3 * 3 + 9 };
    expect(pool.stats()).toMatchObject({ writes: 1, messagesSent: 4, ...bytes });
    expect(tcp.bytes.toString('latin1')).toBe('\x81\x011\x81\x012\x81\x07private\x81\x013');
    expect(tcp.chunks).toHaveLength(1);
  });

  test('bytes on the wire are those of the compressed frames', async () => {
    const { pool, connection, tcp } = await poolOfOne('stateless');
    void pool.broadcastMessage('default', 'x'.repeat(2_000));
    await connection.send('y'.repeat(2_000));
    expect(tcp.bytesWritten).toBeLessThan(200);
    expect(pool.stats()).toMatchObject({ bytesSent: 2 * 2_004, wireBytesSent: tcp.bytesWritten });
  });

  test('a message that the socket sends itself counts with the bytes of its plain frame', async () => {
    const { pool, socket, connection } = await poolOfOne();
    socket._sender._queue.push('what waits in ws');
    expect(await connection.send('abc')).toBe(true);
    expect(await pool.broadcastMessage('default', 'de')).toEqual(ONE_SENT);
    expect(socket.sent).toEqual(['abc', 'de']);
    expect(pool.stats()).toMatchObject({ messagesSent: 2, bytesSent: 5 + 4, wireBytesSent: 5 + 4 });
  });
});

test('messages for a reader with something waiting are not copied into one buffer', async () => {
  const { pool, connection, tcp } = await poolOfOne();
  tcp.writableLength = 10;
  void pool.broadcastMessage('default', '1');
  await connection.send('private');
  expect(tcp.chunks.map(String).map((text) => text.slice(2))).toEqual(['1', 'private']);
});

test('a private message above 4 KiB is not copied together with the broadcasts around it', async () => {
  const { pool, connection, tcp } = await poolOfOne();
  for (const [bytes, chunks] of [
    [4_085, 1],
    [4_090, 2],
  ] as const) {
    const before = tcp.chunks.length;
    void pool.broadcastMessage('default', '1');
    await connection.send('x'.repeat(bytes));
    // The broadcast takes 3 bytes, and the header of the other one 4.
    expect(tcp.chunks.length - before).toBe(chunks);
  }
});

test('members without compression do not wait for that of others before their private messages', async () => {
  const { release } = holdDeflate();
  const { pool, tcp } = await poolOfOne('stateless');
  const [own, socket] = [new MemorySocket(), new MemorySocket()];
  await pool.newConnection(new Connection('own', 'default', own));
  await pool.newConnection(new Connection('other', 'default', socket));
  void pool.broadcastMessage('default', 'x'.repeat(20_000));
  void pool.send('default', 'own', 'private');
  await endTurn();
  expect(own.sent).toEqual(['x'.repeat(20_000), 'private']);
  expect([socket.sent, tcp.bytesWritten]).toEqual([[], 0]);
  release();
  await expect.poll(() => socket.sent).toHaveLength(1);
});

test("bytes for a socket's own send() are a copy of that size alone", async () => {
  const pool = new ConnectionsPool();
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  const bytes = Uint8Array.of(1, 2, 3);
  expect(await connection.send(bytes)).toBe(true);
  bytes.fill(9);
  expect(socket.sent).toEqual([Buffer.of(1, 2, 3)]);
  expect((socket.sent[0] as Buffer).buffer.byteLength).toBeLessThan(100);
});

test("what a socket's own send() throws is an error event, and the message was not sent", async () => {
  const pool = new ConnectionsPool();
  const socket = new MemorySocket();
  const connection = new Connection('1', 'default', socket);
  const errors: string[] = [];
  connection.on('error', ({ message }) => errors.push(message));
  await pool.newConnection(connection);
  socket.send = () => {
    throw new Error('gone');
  };
  expect(await connection.send('x')).toBe(false);
  expect(await pool.broadcastMessage('default', 'y')).toEqual(ONE_FAILED);
  await endTurn();
  expect(errors).toEqual(['gone', 'gone']);
});

test("nothing is sent inside a fragmented message of the socket's owner, and sending goes on after it", async () => {
  const { pool, socket, connection, tcp, errors } = await poolOfOne();
  socket._sender._firstFragment = false;
  expect(await pool.broadcastMessage('default', '1')).toEqual(ONE_FAILED);
  expect(await connection.send('2')).toBe(false);
  expect([socket.sent, tcp.bytesWritten, errors]).toEqual([[], 0, []]);
  socket._sender._firstFragment = true;
  expect(await pool.broadcastMessage('default', '3')).toEqual(ONE_SENT);
  expect(await connection.send('4')).toBe(true);
  expect(tcp.bytes.toString('latin1')).toBe('\x81\x013\x81\x014');
});

test('a Blob between other messages goes through the send() of the socket, in its place', async () => {
  const { pool, socket, connection, tcp } = await poolOfOne();
  const blob = new Blob(['b']);
  const order: unknown[] = [];
  tcp.onWrite = () => order.push('frames');
  socket._sender.send = (message) => order.push(message);
  for (const text of ['1', '2']) void pool.broadcastMessage('default', text);
  const sent = connection.send(blob);
  for (const text of ['3', '4']) void pool.broadcastMessage('default', text);
  expect(connection.bufferedAmount).toBe(4 * 3 + blob.size);
  expect(await sent).toBe(true);
  expect(order).toEqual(['frames', blob, 'frames']);
  expect(tcp.bytes.toString('latin1')).toBe('\x81\x011\x81\x012\x81\x013\x81\x014');
  expect(connection.bufferedAmount).toBe(0);
});

test('a private message that is large enough to be compressed in the background is left to the socket', async () => {
  const { pool, socket, connection, tcp } = await poolOfOne('stateless');
  const large = 'x'.repeat(20_000);
  expect(await connection.send(large)).toBe(true);
  void pool.broadcastMessage('default', 'small');
  expect(await connection.send(large)).toBe(true);
  expect(socket.sent).toEqual([large, large]);
  expect(tcp.bytes.toString('latin1')).toContain('small');
});

test('a large ArrayBuffer that is transferred while it waits fails alone', async () => {
  const { pool, connection, tcp } = await poolOfOne();
  const large = new ArrayBuffer(90_000);
  void pool.broadcastMessage('default', '1');
  const sent = [connection.send(large), connection.send('2')];
  structuredClone(large, { transfer: [large] });
  expect(await Promise.all(sent)).toEqual([false, true]);
  expect(tcp.bytes.toString('latin1')).toBe('\x81\x011\x81\x012');
});

test('messages wait for the compression of a broadcast between them, and then leave in order', async () => {
  const { release } = holdDeflate();
  const { pool, connection, tcp } = await poolOfOne('stateless');
  const sent = [connection.send('1')];
  const before = tcp.bytesWritten;
  const result = pool.broadcastMessage('default', 'x'.repeat(20_000));
  sent.push(connection.send('2'));
  await endTurn();
  expect(tcp.bytesWritten).toBe(before);
  release();
  expect(await result).toEqual(ONE_SENT);
  expect(await Promise.all(sent)).toEqual([true, true]);
  expect(tcp.bytesWritten).toBeGreaterThan(before);
  expect(tcp.bytesWritten).toBeLessThan(200);
});
