import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as zlib from 'node:zlib';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, type NativeWebsocket, type WebSocketMessage } from '../src/index.js';
import {
  digest,
  endTurn,
  member,
  members,
  spySystemWrites,
  spyWrites,
  tcpOf,
  type Member,
} from './support/engine.js';
import { Client, Loopback } from './support/loopback.js';
import { connectInMemory } from './support/memory-socket.js';
import { tlsFixture } from './support/tls-fixture.js';
import { isCompressed, WireClient } from './support/wire.js';

/** Compressions that tests hold back until they call `release`. */
const held: (() => void)[] = [];
let isHolding = false;

vi.mock('node:zlib', async (importOriginal) => {
  const original = await importOriginal<typeof zlib>();
  const deflateRaw = (payload: Buffer, options: zlib.ZlibOptions, callback: zlib.CompressCallback): void => {
    const start = (): void => original.deflateRaw(payload, options, callback);
    if (isHolding) held.push(start);
    else start();
  };
  return { ...original, deflateRawSync: vi.fn(original.deflateRawSync), deflateRaw: vi.fn(deflateRaw) };
});

function release(): void {
  isHolding = false;
  for (const start of held.splice(0)) start();
}

afterEach(() => {
  release();
  vi.clearAllMocks();
});

const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const OFFER = 'permessage-deflate; server_no_context_takeover';
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0 };

describe('one write per socket and turn', () => {
  test('ten broadcasts of a turn are one write of one buffer that all members share', async () => {
    const pool = new ConnectionsPool();
    const all = await members(pool, await Loopback.start(), 3);
    const writes = all.map(({ socket }) => spyWrites(socket));
    const texts = Array.from({ length: 10 }, (_, i) => `message ${i}`);
    for (const text of texts) void pool.broadcastMessage('default', text);
    for (const { client } of all) expect(await client.exactly(10)).toEqual(texts);
    // The pong of `exactly` is the second.
    expect(writes.map(([, ...others]) => others.length)).toEqual([1, 1, 1]);
    expect(writes[1]?.[0]).toBe(writes[0]?.[0]);
    expect(writes[2]?.[0]).toBe(writes[0]?.[0]);
    expect(pool.stats()).toMatchObject({ writes: 3, messagesSent: 30, broadcasts: 10 });
  });

  test('a private message between broadcasts costs one system call, and its neighbours stay on the shared path', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(), 2)) as [Member, Member];
    const [ofA, ofB] = [spySystemWrites(a.socket), spyWrites(b.socket)];
    void pool.broadcastMessage('default', '1');
    void a.connection.send('private');
    void pool.broadcastMessage('default', '2');
    await endTurn();
    expect(ofA.count).toBe(1);
    expect(ofB.length).toBe(1);
    expect(await a.client.exactly(3)).toEqual(['1', 'private', '2']);
    expect(await b.client.exactly(2)).toEqual(['1', '2']);
  });

  test('a value is encoded once, however many get it', async () => {
    const pool = new ConnectionsPool();
    const all = await members(pool, await Loopback.start(), 3);
    const toJSON = vi.fn(() => ({ price: 1 }));
    await pool.broadcastJsonMessage('default', { toJSON });
    for (const { client } of all) expect(await client.next()).toBe('{"price":1}');
    expect(toJSON).toHaveBeenCalledTimes(1);
  });

  test('a message is compressed once for each window size', async () => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start(SHARED);
    const clients = [];
    for (const [i, serverMaxWindowBits] of [15, 15, 10, 10, 12, 15].entries()) {
      const perMessageDeflate = { serverMaxWindowBits };
      clients.push((await member(pool, loopback, String(i), { perMessageDeflate })).client);
    }
    const text = 'compressible '.repeat(400);
    await pool.broadcastMessage('default', text);
    for (const client of clients) expect(await client.next()).toBe(text);
    expect(zlib.deflateRawSync).toHaveBeenCalledTimes(3);
  });

  // zlib makes 9 of 8 bits in raw streams: the window of the peer would be too small.
  test('a client with a window of 256 bytes gets its messages uncompressed', async () => {
    const pool = new ConnectionsPool();
    const options = { perMessageDeflate: { serverMaxWindowBits: 8 } };
    const { client, connection } = await member(pool, await Loopback.start(SHARED), '1', options);
    const texts = ['compressible '.repeat(400), 'compressible '.repeat(4_000)];
    for (const text of texts) void pool.broadcastMessage('default', text);
    for (const text of texts) void connection.send(text);
    expect(await client.exactly(4)).toEqual([...texts, ...texts]);
    expect(zlib.deflateRawSync).not.toHaveBeenCalled();
    expect(zlib.deflateRaw).not.toHaveBeenCalled();
  });

  test('a payload above 64 KiB is written as it is, without a copy', async () => {
    const pool = new ConnectionsPool();
    const all = await members(pool, await Loopback.start(), 2);
    const writes = all.map(({ socket }) => spyWrites(socket));
    const payload = Buffer.alloc(100_000, 7);
    void pool.broadcastMessage('default', 'before');
    void pool.broadcastMessage('default', payload);
    void pool.broadcastMessage('default', 'behind');
    for (const { client } of all)
      expect((await client.exactly(3)).map(digest)).toEqual(['before', payload, 'behind'].map(digest));
    for (const chunks of writes) {
      const large = chunks.filter(({ length }) => length === payload.length);
      expect(large.map(({ buffer }) => buffer === payload.buffer)).toEqual([true]);
    }
  });

  test('binary of up to 64 KiB may be reused as soon as the call returns', async () => {
    const pool = new ConnectionsPool();
    const [{ client, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const bytes = Buffer.alloc(64 * 1024, 1);
    void pool.broadcastMessage('default', bytes);
    bytes.fill(2);
    void connection.send(bytes);
    bytes.fill(3);
    const expected = [Buffer.alloc(64 * 1024, 1), Buffer.alloc(64 * 1024, 2)];
    expect((await client.exactly(2)).map(digest)).toEqual(expected.map(digest));
  });

  test('a burst of more than 1 MiB does not wait for the end of the turn', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const writes = spyWrites(socket);
    const text = 'x'.repeat(60_000);
    for (let i = 0; i < 17; i++) void pool.broadcastMessage('default', text);
    expect(writes).toHaveLength(0);
    void pool.broadcastMessage('default', text);
    expect(writes.length).toBeGreaterThan(0);
    expect(await client.exactly(18)).toEqual(Array.from({ length: 18 }, () => text));
  });

  test('many namespaces end their turn together, each with its own messages', async () => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start();
    const clients = [];
    for (let i = 0; i < 20; i++)
      clients.push((await member(pool, loopback, '1', { namespace: `n${i}` })).client);
    for (let i = 0; i < 20; i++) void pool.broadcastMessage(`n${i}`, `for ${i}`);
    for (const [i, client] of clients.entries()) expect(await client.exactly(1)).toEqual([`for ${i}`]);
  });
});

describe('flush', () => {
  test('writes at once, and the end of the turn adds nothing', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const writes = spyWrites(socket);
    const result = pool.broadcastMessage('default', '1');
    pool.flush();
    expect(writes).toHaveLength(1);
    expect(await result).toEqual(ONE_SENT);
    void pool.broadcastMessage('default', '2');
    expect(await client.exactly(2)).toEqual(['1', '2']);
  });

  // Once the turn had ended, a broadcast that was being compressed was no longer known to flush().
  test('writes a broadcast of an earlier turn that is being compressed', async () => {
    isHolding = true;
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(SHARED), 1)) as [Member];
    const writes = spyWrites(socket);
    const text = 'x'.repeat(20_000);
    void pool.broadcastMessage('default', text);
    await endTurn();
    expect(writes).toHaveLength(0);
    pool.flush();
    expect(writes).toHaveLength(1);
    release();
    expect(await client.exactly(1)).toEqual([text]);
  });
});

describe('those who differ', () => {
  test('a connection that joins in the middle of a turn gets nothing broadcast before', async () => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start();
    const [a] = (await members(pool, loopback, 1)) as [Member];
    const { client, connection } = await loopback.connect('late');
    void pool.broadcastMessage('default', 'before');
    void pool.newConnection(connection);
    void pool.broadcastMessage('default', 'behind');
    expect(await a.client.exactly(2)).toEqual(['before', 'behind']);
    expect(await client.exactly(1)).toEqual(['behind']);
  });

  test('an excepted connection does not disturb the shared path of the others', async () => {
    const pool = new ConnectionsPool();
    const [a, b, c] = (await members(pool, await Loopback.start(), 3)) as [Member, Member, Member];
    const [ofA, ofB] = [spyWrites(a.socket), spyWrites(b.socket)];
    void pool.broadcastMessage('default', '1');
    const result = pool.broadcastMessage('default', '2', ['c', 'nobody', 'c']);
    void pool.broadcastMessage('default', '3');
    expect(await result).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0 });
    expect([ofA.length, ofB.length]).toEqual([1, 1]);
    expect(ofA[0]).toBe(ofB[0]);
    expect(await c.client.exactly(2)).toEqual(['1', '3']);
    expect(await a.client.exactly(3)).toEqual(['1', '2', '3']);
  });

  test('one that is excepted, sent to and closed in one turn gets what was meant for it, and its close last', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(), 2)) as [Member, Member];
    const results = [
      pool.broadcastMessage('default', '1'),
      pool.broadcastMessage('default', '2', new Set(['a'])),
    ];
    void a.connection.send('private');
    results.push(pool.broadcastMessage('default', '3'));
    void a.connection.close(4000, 'enough');
    results.push(pool.broadcastMessage('default', '4'));
    expect(await a.client.closed).toEqual({ code: 4000, reason: 'enough' });
    expect(a.client.inbox).toEqual(['1', 'private', '3']);
    expect(await b.client.exactly(4)).toEqual(['1', '2', '3', '4']);
    const counts = (await Promise.all(results)).map(({ recipients, sent, failed }) => [
      recipients,
      sent,
      failed,
    ]);
    expect(counts).toEqual([
      [2, 2, 0],
      [1, 1, 0],
      [2, 2, 0],
      [2, 1, 1],
    ]);
  });

  test('one that leaves and joins again in one turn misses only what was broadcast between', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(), 2)) as [Member, Member];
    void pool.broadcastMessage('default', '1');
    void pool.removeConnection(a.connection);
    void pool.broadcastMessage('default', '2');
    void pool.newConnection(a.connection);
    void pool.broadcastMessage('default', '3');
    expect(await a.client.exactly(2)).toEqual(['1', '3']);
    expect(await b.client.exactly(3)).toEqual(['1', '2', '3']);
  });

  test('one that is replaced gets what was broadcast before, and its successor the rest', async () => {
    const pool = new ConnectionsPool({ onDuplicate: 'replace' });
    const loopback = await Loopback.start();
    const [a] = (await members(pool, loopback, 1)) as [Member];
    const successor = await loopback.connect('a');
    void pool.broadcastMessage('default', '1');
    void pool.newConnection(successor.connection);
    void pool.broadcastMessage('default', '2');
    expect((await a.client.closed).code).toBe(4409);
    expect(a.client.inbox).toEqual(['1']);
    expect(await successor.client.exactly(1)).toEqual(['2']);
  });

  test('one that moves to another pool gets the messages of both, in order', async () => {
    const [first, second] = [new ConnectionsPool(), new ConnectionsPool()];
    const [{ client, connection }] = (await members(first, await Loopback.start(), 1)) as [Member];
    void first.broadcastMessage('default', '1');
    void first.removeConnection(connection);
    void second.newConnection(connection);
    void second.broadcastMessage('default', '2');
    void first.broadcastMessage('default', 'nobody');
    void connection.send('3');
    expect(await client.exactly(3)).toEqual(['1', '2', '3']);
  });
});

describe('large compressed messages', () => {
  test('keep their place before small ones, private ones and a close', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(SHARED), 2)) as [Member, Member];
    const large = 'compressible '.repeat(20_000);
    void pool.broadcastMessage('default', large);
    void a.connection.send('private');
    await nextTurn();
    void pool.broadcastMessage('default', 'small');
    void b.connection.sendThenClose('bye', 4001);
    expect((await b.client.closed).code).toBe(4001);
    expect(b.client.inbox).toEqual([large, 'small', 'bye']);
    expect(await a.client.exactly(3)).toEqual([large, 'private', 'small']);
    expect(zlib.deflateRaw).toHaveBeenCalledTimes(1);
  });

  test('are counted for members that go while the compression runs', async () => {
    isHolding = true;
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(SHARED), 2)) as [Member, Member];
    const result = pool.broadcastMessage('default', 'x'.repeat(20_000));
    b.socket.terminate();
    await b.client.closed;
    expect(pool.stats().connections).toBe(1);
    release();
    expect(await result).toEqual({ recipients: 2, sent: 1, dropped: 0, failed: 1 });
    expect(await a.client.exactly(1)).toEqual(['x'.repeat(20_000)]);
  });

  // A member that had to have its messages early shared its uncompressed slice of the log with everybody.
  test('are compressed for the others when one member closes while the compression runs', async () => {
    const pool = new ConnectionsPool();
    const loopback = await Loopback.start(SHARED);
    const wire = await WireClient.connect(loopback, OFFER);
    await pool.newConnection(new Connection('stays', 'default', wire.socket));
    const leaver = await member(pool, loopback, 'leaves');
    const texts = ['small', 'x'.repeat(60_000), 'small again'];
    for (const text of texts) void pool.broadcastMessage('default', text);
    void leaver.connection.close();
    await leaver.client.closed;
    expect(leaver.client.inbox).toEqual(texts);
    await wire.frame();
    expect(isCompressed(await wire.frame())).toBe(true);
  });

  test('hold up a burst of their namespace, but not past 16 MiB', async () => {
    isHolding = true;
    const pool = new ConnectionsPool({ maxBufferedBytes: 64 * 1024 * 1024 });
    const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
    await pool.newConnection(new Connection('1', 'default', wire.socket));
    const writes = spyWrites(wire.socket);
    void pool.broadcastMessage('default', 'x'.repeat(20_000));
    for (let i = 0; i < 15; i++) void pool.broadcastMessage('default', Buffer.alloc(1024 * 1024));
    expect(writes).toHaveLength(0);
    void pool.broadcastMessage('default', Buffer.alloc(1024 * 1024));
    expect(writes.length).toBeGreaterThan(0);
    const frame = await wire.frame();
    expect([isCompressed(frame), frame.payload.length]).toEqual([false, 20_000]);
  });

  test('go out plain when zlib fails', async () => {
    const pool = new ConnectionsPool();
    const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
    await pool.newConnection(new Connection('1', 'default', wire.socket));
    vi.mocked(zlib.deflateRaw).mockImplementationOnce((_payload, _options, callback) => {
      setImmediate(callback, new Error('out of memory'), Buffer.alloc(0));
    });
    expect(await pool.broadcastMessage('default', 'x'.repeat(20_000))).toEqual(ONE_SENT);
    const frame = await wire.frame();
    expect([isCompressed(frame), frame.payload.length]).toEqual([false, 20_000]);
    expect(pool.stats()).toMatchObject({ compressions: 0, compressedMessages: 0 });
  });

  // Left to the socket's own send() for its compression, and then written as a plain frame after all.
  test('are compressed when they are private, too', async () => {
    const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
    void new Connection('1', 'default', wire.socket).send('x'.repeat(60_000));
    expect(isCompressed(await wire.frame())).toBe(true);
  });
});

describe('compression keeps to what the server was told', () => {
  const agreed = (perMessageDeflate: object): Promise<Loopback> =>
    Loopback.start({ perMessageDeflate: { serverNoContextTakeover: true, ...perMessageDeflate } });

  async function frames(loopback: Loopback, messages: readonly (string | Buffer)[]): Promise<boolean[]> {
    const pool = new ConnectionsPool();
    const wire = await WireClient.connect(loopback, OFFER);
    await pool.newConnection(new Connection('1', 'default', wire.socket));
    for (const message of messages) void pool.broadcastMessage('default', message);
    const compressed: boolean[] = [];
    for (let i = 0; i < messages.length; i++) compressed.push(isCompressed(await wire.frame()));
    return compressed;
  }

  test('about the level and the memory', async () => {
    await frames(await agreed({ threshold: 0, zlibDeflateOptions: { level: 1, memLevel: 2 } }), [
      'x'.repeat(99),
    ]);
    expect(vi.mocked(zlib.deflateRawSync).mock.lastCall?.[1]).toMatchObject({ level: 1, memLevel: 2 });
    await frames(await agreed({ threshold: 0 }), ['x'.repeat(99)]);
    const options = vi.mocked(zlib.deflateRawSync).mock.lastCall?.[1];
    expect(Object.keys(options ?? {}).toSorted()).toEqual(['finishFlush', 'windowBits']);
  });

  test('about the payload from which on it pays', async () => {
    const texts = [99, 100, 0, 5_000].map((length) => 'x'.repeat(length));
    expect(await frames(await agreed({ threshold: 100 }), texts)).toEqual([false, true, false, true]);
    expect(await frames(await agreed({ threshold: 0 }), texts)).toEqual([true, true, false, true]);
  });

  test('and leaves out what it would make longer', async () => {
    const noise = [1_000, 100_000].map((length) => randomBytes(length));
    expect(await frames(await agreed({ threshold: 0 }), noise)).toEqual([false, false]);
  });
});

describe("an open fragmented message of the socket's owner", () => {
  const modes = {
    plain: {},
    'shared compression': SHARED,
    'context takeover': { perMessageDeflate: { threshold: 0 } },
  };

  // With context takeover the guard was missing: 'ax' and 'b' arrived.
  test.each(Object.entries(modes))('holds the messages of the library back (%s)', async (_, options) => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(options), 1)) as [
      Member,
    ];
    socket.send('a', { fin: false });
    void pool.broadcastMessage('default', '1');
    void connection.send('2');
    await endTurn();
    void pool.broadcastMessage('default', '3');
    await endTurn();
    socket.send('b', { fin: true });
    expect(await client.exactly(4)).toEqual(['ab', '1', '2', '3']);
  });

  // Of what had to wait only the first piece was counted.
  test('does not hold back the results of broadcasts', async () => {
    const pool = new ConnectionsPool();
    const [a] = (await members(pool, await Loopback.start(), 2)) as [Member];
    a.socket.send('a', { fin: false });
    const results = [pool.broadcastMessage('default', '1')];
    void a.connection.send('2');
    results.push(pool.broadcastMessage('default', '3'));
    await nextTurn();
    results.push(pool.broadcastMessage('default', '4'));
    const all = { recipients: 2, sent: 2, dropped: 0, failed: 0 };
    expect(await Promise.all(results)).toEqual([all, all, all]);
    a.socket.send('b', { fin: true });
    expect(await a.client.exactly(5)).toEqual(['ab', '1', '2', '3', '4']);
  });

  // The kept copy was encoded a second time, from a buffer that its owner had used again meanwhile.
  test('keeps the bytes of a message as they were when it was broadcast', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const bytes = Buffer.from('binary');
    socket.send('a', { fin: false });
    for (const value of [1, 2]) {
      void pool.broadcastMessage('default', bytes.fill(value));
      bytes.fill(0);
      await endTurn();
    }
    socket.send('b', { fin: true });
    expect(await client.exactly(3)).toEqual(['ab', Buffer.alloc(6, 1), Buffer.alloc(6, 2)]);
  });

  // Each message that an overridden send() passed on was put before the one that waited already.
  test('keeps the order of what an overridden send passes on', async () => {
    const pool = new ConnectionsPool();
    const { client, socket } = await (await Loopback.start()).pair();
    await pool.newConnection(new Shouting('1', 'default', socket));
    socket.send('A', { fin: false });
    for (const text of ['x', 'y', 'z']) void pool.broadcastMessage('default', text);
    await endTurn();
    socket.send('B', { fin: true });
    expect(await client.exactly(4)).toEqual(['AB', 'X', 'Y', 'Z']);
  });

  test('fails what waits when the connection closes before it is complete', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    socket.send('a', { fin: false });
    const sent = connection.send('1');
    socket.terminate();
    expect(await sent).toBe(false);
    await client.closed;
    expect(client.inbox).toEqual([]);
  });

  test('is bounded: what waits behind it counts for maxBufferedBytes', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100_000, onSlow: 'drop' });
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    socket.send('a', { fin: false });
    const results = [];
    for (let i = 0; i < 10; i++) {
      results.push(pool.broadcastMessage('default', 'x'.repeat(30_000)));
      await endTurn();
    }
    expect(connection.bufferedAmount).toBeLessThan(200_000);
    const counts = (await Promise.all(results)).map(({ sent, dropped }) => `${sent}${dropped}`);
    expect(counts).toEqual(['10', '10', '10', '01', '01', '01', '01', '01', '01', '01']);
    socket.send('b', { fin: true });
    expect(await client.exactly(4)).toHaveLength(4);
  });

  test('is bounded within one turn, too', async () => {
    const pool = new ConnectionsPool({ maxBufferedBytes: 100_000, onSlow: 'drop' });
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    socket.send('a', { fin: false });
    const results = Array.from({ length: 5 }, () => pool.broadcastMessage('default', 'x'.repeat(30_000)));
    expect((await Promise.all(results)).map(({ sent }) => sent)).toEqual([1, 1, 1, 0, 0]);
    socket.send('b', { fin: true });
    expect(await client.exactly(4)).toHaveLength(4);
  });
});

class Shouting extends Connection {
  override async send(message: WebSocketMessage): Promise<boolean> {
    return super.send(typeof message === 'string' ? message.toUpperCase() : message);
  }
}

describe('user code on the way', () => {
  // The connection counted as closed already when its pending broadcasts were handed to the overridden send().
  test('an overridden send passes on what is pending when the connection closes', async () => {
    const pool = new ConnectionsPool();
    const { client, socket } = await (await Loopback.start()).pair();
    await pool.newConnection(new Shouting('1', 'default', socket));
    expect(await pool.broadcastError('default', 'going', 1011)).toEqual(ONE_SENT);
    expect((await client.closed).code).toBe(1011);
    expect(client.inbox).toEqual(['GOING']);
  });

  /** A connection whose handlers note what they get, and do `act` on the first message. */
  async function noting(
    isMixed: boolean,
    act: (connection: Connection, pool: ConnectionsPool) => void,
  ): Promise<unknown[]> {
    const pool = new ConnectionsPool();
    const seen: unknown[] = [];
    const connection: Connection = new Connection('1', 'default', connectInMemory().socket, {
      send: (message) => {
        seen.push(message);
        if (seen.length === 1) act(connection, pool);
      },
      close: (code) => void seen.push(code),
    });
    await pool.newConnection(connection);
    void pool.broadcastMessage('default', '1');
    void pool.broadcastMessage('default', '2');
    void (isMixed ? connection.send('3') : pool.broadcastMessage('default', '3'));
    void pool.broadcastMessage('default', '4');
    await endTurn();
    return seen;
  }

  // What stood behind the batch of the running handler, or was new, was delivered before the rest of that batch.
  describe.each([
    { mix: 'broadcasts', isMixed: false },
    { mix: 'broadcasts and private messages', isMixed: true },
  ])('with $mix pending, a handler', ({ isMixed }) => {
    test('that removes its connection disturbs no order', async () => {
      const seen = await noting(isMixed, (connection, pool) => void pool.removeConnection(connection));
      expect(seen).toEqual(['1', '2', '3', '4']);
    });

    test('that sends adds to the end', async () => {
      const seen = await noting(isMixed, (connection) => void connection.send('5'));
      expect(seen).toEqual(['1', '2', '3', '4', '5']);
    });

    test('that broadcasts and flushes adds to the end', async () => {
      const seen = await noting(isMixed, (_, pool) => {
        void pool.broadcastMessage('default', '5');
        pool.flush();
      });
      expect(seen).toEqual(['1', '2', '3', '4', '5']);
    });

    test('that closes its connection gets the close last', async () => {
      const seen = await noting(isMixed, (connection) => void connection.close(4000));
      expect(seen).toEqual(['1', '2', '3', '4', 4000]);
    });
  });
});

describe('a write that throws', () => {
  test('fails for that member alone, which hears of it', async () => {
    const pool = new ConnectionsPool();
    const [a, b] = (await members(pool, await Loopback.start(), 2)) as [Member, Member];
    const errors: string[] = [];
    a.connection.on('error', ({ message }) => errors.push(message));
    vi.spyOn(tcpOf(a.socket), 'write').mockImplementation(() => {
      throw new Error('broken');
    });
    const results = [pool.broadcastMessage('default', '1'), pool.broadcastMessage('default', '2')];
    const expected = { recipients: 2, sent: 1, dropped: 0, failed: 1 };
    expect(await Promise.all(results)).toEqual([expected, expected]);
    expect(await b.client.exactly(2)).toEqual(['1', '2']);
    expect(errors).toEqual(['broken']);
    expect(pool.stats().errors).toBe(1);
  });

  // The socket stayed corked for ever behind half a frame: open, but mute.
  test('half-way ends the connection, whose stream is broken', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket }] = (await members(pool, await Loopback.start(), 1)) as [Member];
    const tcp = tcpOf(socket);
    const write = tcp.write.bind(tcp);
    vi.spyOn(tcp, 'write').mockImplementation((chunk) => {
      if (chunk.length === 100_000) throw new Error('broken');
      return write(chunk);
    });
    expect((await pool.broadcastMessage('default', Buffer.alloc(100_000))).failed).toBe(1);
    expect((await client.closed).code).toBe(1006);
    expect(client.inbox).toEqual([]);
    expect(pool.stats().connections).toBe(0);
  });
});

test('what ws is still compressing counts for bufferedAmount', async () => {
  const loopback = await Loopback.start({ perMessageDeflate: { threshold: 0 } });
  const { socket, connection } = await loopback.connect('1');
  for (let i = 0; i < 3; i++) socket.send('x'.repeat(50_000));
  expect(socket.bufferedAmount).toBeGreaterThan(100_000);
  expect(connection.bufferedAmount).toBe(socket.bufferedAmount);
});

describe('sockets without the direct path', () => {
  test('client sockets mask their frames, through their own send', async () => {
    const loopback = await Loopback.start();
    const { client, socket } = await loopback.pair();
    const received = new Client(socket);
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', client.socket);
    await pool.newConnection(connection);
    void pool.broadcastMessage('default', '1');
    void connection.send('private');
    void pool.broadcastMessage('default', Buffer.from('2'));
    expect(await received.exactly(3)).toEqual(['1', 'private', Buffer.from('2')]);
  });

  test('TLS sockets are written to directly, once per turn', async () => {
    const https = createServer(tlsFixture).listen(0, '127.0.0.1');
    await once(https, 'listening');
    const server = new WebSocketServer({ server: https });
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      https.close();
    });
    const accepted = once(server, 'connection');
    const { port } = https.address() as AddressInfo;
    const client = new Client(new WebSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false }));
    const [socket] = (await accepted) as [WebSocket];
    const pool = new ConnectionsPool();
    const connection = new Connection('1', 'default', socket);
    await pool.newConnection(connection);
    const writes = spyWrites(socket);
    const large = Buffer.alloc(1_000_000, 5);
    for (const text of ['1', '2', '3']) void pool.broadcastMessage('default', text);
    await endTurn();
    expect(writes).toHaveLength(1);
    void pool.broadcastMessage('default', large);
    void connection.send('private');
    expect((await client.exactly(5)).map(digest)).toEqual(['1', '2', '3', large, 'private'].map(digest));
  });

  /** The socket with one member hidden, or replaced. */
  function without(socket: WebSocket, path: readonly string[], replacement: unknown): NativeWebsocket {
    const [name] = path as [string];
    return new Proxy(socket, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (key === name && path.length === 1) return replacement;
        if (typeof value === 'function') return value.bind(target) as unknown;
        return key === name ? without(value as WebSocket, path.slice(1), replacement) : value;
      },
    });
  }

  const internals = [
    ['_socket'],
    ['_socket', 'write'],
    ['_socket', 'cork'],
    ['_socket', 'uncork'],
    ['_socket', 'once'],
    ['_socket', 'writableLength'],
    ['_isServer'],
    ['_sender'],
    ['_sender', '_firstFragment'],
    ['_sender', '_queue'],
    ['_sender', '_bufferedBytes'],
    ['_sender', '_state'],
    ['_sender', '_extensions'],
    ['_sender', '_extensions', 'permessage-deflate', 'params'],
    ['_sender', '_extensions', 'permessage-deflate', '_options'],
    ['_sender', '_extensions', 'permessage-deflate', '_threshold'],
  ].flatMap((path) =>
    [undefined, null].map((value) => ({ path, value, name: `${path.join('.')} is ${value}` })),
  );

  // Some that were null, or missing from the extension, made the constructor throw.
  test.each(internals)(
    'a ws where $name gets everything through its public send',
    async ({ path, value }) => {
      const loopback = await Loopback.start(SHARED);
      const { client, socket } = await loopback.pair();
      const send = vi.spyOn(socket, 'send');
      const pool = new ConnectionsPool();
      const connection = new Connection('1', 'default', without(socket, path, value));
      await pool.newConnection(connection);
      void pool.broadcastMessage('default', '1');
      void connection.send('private');
      const result = pool.broadcastMessage('default', '2');
      expect(await client.exactly(3)).toEqual(['1', 'private', '2']);
      expect(await result).toEqual(ONE_SENT);
      expect(send).toHaveBeenCalledTimes(3);
    },
  );

  test('a ws with all of its internals never sees its public send called', async () => {
    const pool = new ConnectionsPool();
    const [{ client, socket, connection }] = (await members(pool, await Loopback.start(SHARED), 1)) as [
      Member,
    ];
    const send = vi.spyOn(socket, 'send');
    void pool.broadcastMessage('default', '1');
    void connection.send('private');
    void pool.broadcastMessage('default', '2');
    expect(await client.exactly(3)).toEqual(['1', 'private', '2']);
    expect(send).not.toHaveBeenCalled();
  });
});
