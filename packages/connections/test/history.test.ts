import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type * as ws from 'ws';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../src/index.js';
import { spyWrites, tcpOf } from './support/engine.js';
import { HistoryModel, type HistoryModelOptions } from './support/history-model.js';
import { StrictInflater } from './support/inflate.js';
import { Loopback } from './support/loopback.js';
import { Random } from './support/random.js';
import { connectTapped, type TappedMessage, type TappedPair } from './support/tapped-client.js';

/** Random steps of the soak, e.g. 50000. */
const STEPS = Number(process.env['CONNECTIONS_HISTORY_STEPS'] ?? 2_000);
const STEPS_PER_SEED = 250;
const TAKEOVER: ws.ServerOptions = { perMessageDeflate: { threshold: 0 } };
const SMALL_HISTORY_BYTES = 512;

interface Member extends TappedPair {
  readonly connection: Connection;
}

type ClientOptions = Parameters<typeof connectTapped>[1] & { namespace?: string };

/** A pool with a history and clients that keep a context. */
class Room {
  readonly pool: ConnectionsPool;
  readonly loopback: Loopback;

  constructor(loopback: Loopback, options: ConnectionsPoolOptions = {}) {
    this.loopback = loopback;
    this.pool = new ConnectionsPool({ compression: { history: { bytes: SMALL_HISTORY_BYTES } }, ...options });
  }

  static async open(options?: ConnectionsPoolOptions): Promise<Room> {
    return new Room(await Loopback.start(TAKEOVER), options);
  }

  /** Connects a client that is in no pool yet. */
  async visitor(id: string, { namespace = 'default', ...options }: ClientOptions = {}): Promise<Member> {
    const pair = await connectTapped(this.loopback, options);
    return { ...pair, connection: new Connection(id, namespace, pair.socket) };
  }

  async member(id: string, options?: ClientOptions): Promise<Member> {
    const member = await this.visitor(id, options);
    await this.pool.newConnection(member.connection);
    return member;
  }

  /** One broadcast in a turn of its own. */
  async broadcast(message: string | Buffer, exceptions?: string[]): Promise<void> {
    await this.pool.broadcastMessage('default', message, exceptions);
  }
}

/** About 100 bytes, much like the others. */
function record(serial: number): string {
  const id = (serial * 2_654_435_761) % 2 ** 32;
  return `{"type":"message","room":"lobby","serial":${serial},"from":"user-${id}","text":"hello, everybody"}`;
}

function records(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => record(from + index));
}

/** Everything that a client has received is this, by `ws` and by our own decoder. */
async function expectMessages({ client }: Member, messages: readonly (string | Buffer)[]): Promise<void> {
  expect(await client.exactly(messages.length)).toEqual(messages);
  const tapped = client.tapped.map(({ message, isBinary }) => (isBinary ? message : message.toString()));
  expect(tapped).toEqual(messages);
}

async function last({ client }: Member): Promise<TappedMessage> {
  return (await client.settled()).at(-1)!;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

describe('the strict decoder', () => {
  const flushed = { finishFlush: constants.Z_SYNC_FLUSH };
  const compress = (message: Buffer, options: object): Buffer =>
    deflateRawSync(message, { ...flushed, ...options }).subarray(0, -4);

  test.each([9, 11, 15].flatMap((windowBits) => [0, 1, 6, 9].map((level) => ({ windowBits, level }))))(
    'understands what zlib compresses ($windowBits bits, level $level)',
    ({ windowBits, level }) => {
      const random = new Random(windowBits * 10 + level);
      const inflater = new StrictInflater(windowBits);
      let window: Buffer = Buffer.alloc(0);
      for (const size of [0, 1, 50, 300, 3_000, 70_000, 10, 5_000]) {
        const message = random.bytes(size, random.chance(0.7));
        const strategy = random.pick([constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED]);
        const options = { windowBits, level, strategy, ...(window.length > 0 && { dictionary: window }) };
        expect(inflater.inflate(compress(message, options)).message.equals(message)).toBe(true);
        window = Buffer.concat([window, message]).subarray(-(2 ** windowBits));
      }
    },
  );

  test('tells how far before its beginning a message refers', () => {
    const inflater = new StrictInflater(15);
    // zlib never refers to the first byte of a dictionary.
    const dictionary = Buffer.from('!something that comes again and 0123456789');
    inflater.inflate(compress(dictionary, {}));
    const message = Buffer.from('something that comes again');
    const inflated = inflater.inflate(compress(message, { dictionary }));
    expect(inflated).toEqual({ message, reachBytes: dictionary.length - 1 });
  });

  test('rejects a reference to what the client has never got', () => {
    const dictionary = Buffer.from('!something that comes again');
    const payload = compress(dictionary.subarray(1), { dictionary });
    const inflater = new StrictInflater(15);
    expect(() => inflater.inflate(payload)).toThrow('A reference 26 back: 0 of 32768 are there');
  });

  test('rejects a reference behind the agreed window, even within one message', () => {
    const random = new Random(1);
    const message = Buffer.concat([Buffer.from('something that comes again'), random.bytes(600, false)]);
    const payload = compress(Buffer.concat([message, message]), { windowBits: 15 });
    expect(new StrictInflater(10).inflate(payload).message).toHaveLength(1_252);
    expect(() => new StrictInflater(9).inflate(payload)).toThrow('A reference 626 back');
  });
});

describe('one compression', () => {
  test('serves every member that keeps a context, and refers to what was broadcast before', async () => {
    const room = await Room.open();
    const members = [await room.member('a'), await room.member('b'), await room.member('c')];
    for (const text of records(20)) await room.broadcast(text);
    for (const member of members) await expectMessages(member, records(20));
    const [a, b, c] = members.map(({ client }) => client.tapped.map(({ wire }) => wire));
    expect(b).toEqual(a);
    expect(c).toEqual(a);
    const stats = room.pool.stats();
    expect([stats.compressedMessages, stats.compressions]).toEqual([20, 20]);
    expect(stats.compressedBytesIn).toBe(sum(records(20).map((text) => text.length)));
    expect(stats.compressedBytesOut).toBe(sum(a!.map(({ length }) => length)));
    for (const { reachBytes } of members[0]!.client.tapped.slice(1)) expect(reachBytes).toBeGreaterThan(0);
  });

  test.each([9, 10, 11, 12, 13, 14, 15])(
    'never refers to more than a window of %i bits holds, nor to more than the history',
    async (windowBits) => {
      for (const bytes of [512, 5_000, 32_768]) {
        const room = await Room.open({ compression: { history: { bytes } } });
        const random = new Random(windowBits);
        const options = { perMessageDeflate: { serverMaxWindowBits: windowBits } };
        const member = await room.member('a', options);
        const texts: string[] = [];
        for (let i = 0; i < 60; i++) texts.push(records(1 + random.below(30), random.below(50)).join());
        for (const text of texts) await room.broadcast(text);
        await expectMessages(member, texts);
        const reaches = member.client.tapped.map(({ reachBytes }) => reachBytes);
        expect(Math.max(...reaches)).toBeLessThanOrEqual(Math.min(bytes, 2 ** windowBits));
        expect(Math.min(...reaches.slice(1))).toBeGreaterThan(0);
      }
    },
  );

  test('is made for each window size that members have agreed to, and no more often', async () => {
    const room = await Room.open();
    const members: Member[] = [];
    for (const bits of [9, 9, 12, 12, 15]) {
      const options = { perMessageDeflate: { serverMaxWindowBits: bits } };
      members.push(await room.member(String(members.length), options));
    }
    for (const text of records(30)) await room.broadcast(text);
    for (const member of members) await expectMessages(member, records(30));
    expect(room.pool.stats().compressions).toBe(90);
  });

  test.each([511, 32_769, 1.5, NaN])('wants a history of 512 to 32768 bytes, not of %d', (bytes) => {
    expect(() => new ConnectionsPool({ compression: { history: { bytes } } })).toThrow(RangeError);
  });

  test.each([null, 8_192, { history: 8_192 }, { history: { bytes: '8192' } }, { history: null }])(
    'wants an object, not %j',
    (compression) => {
      expect(() => new ConnectionsPool({ compression: compression as never })).toThrow(TypeError);
    },
  );
});

describe('those who keep no context or no window for it', () => {
  test('clients that agreed to none are served as without a history', async () => {
    const room = await Room.open();
    const withContext = await room.member('a');
    const without = await room.member('b', { perMessageDeflate: { serverNoContextTakeover: true } });
    const plain = await room.member('c', { perMessageDeflate: false });
    for (const text of records(10)) await room.broadcast(text);
    for (const member of [withContext, without, plain]) await expectMessages(member, records(10));
    expect(
      without.client.tapped.every(({ isCompressed, reachBytes }) => isCompressed && reachBytes === 0),
    ).toBe(true);
    expect(plain.client.tapped.some(({ isCompressed }) => isCompressed)).toBe(false);
    expect(withContext.client.tapped.at(-1)!.reachBytes).toBeGreaterThan(0);
  });

  // zlib makes 9 of 8 bits in raw streams: the window of the peer would be too small.
  test('a socket with a window of 8 bits is left to its own send()', async () => {
    const room = await Room.open();
    const member = await room.member('a', { perMessageDeflate: { serverMaxWindowBits: 8 } });
    const send = vi.spyOn(member.socket, 'send');
    const texts = ['short', 'no', 'such record'];
    for (const text of texts) await room.broadcast(text);
    expect(await member.client.exactly(3)).toEqual(texts);
    expect(send).toHaveBeenCalledTimes(3);
    expect(room.pool.stats().compressions).toBe(0);
    const { _extensions: extensions } = (member.socket as unknown as { _sender: Sender })._sender;
    expect(extensions['permessage-deflate'].params).not.toHaveProperty('server_no_context_takeover');
  });
});

interface Sender {
  readonly _extensions: { readonly 'permessage-deflate': { readonly params: object } };
}

describe('the owner of the socket', () => {
  // `ws` compressed what its owner sent with a context of its own: the client's window then ended with bytes that the
  // history did not know, and `ws` referred to a window that the client no longer had. 295 of 300 messages came out
  // wrong, and nobody said so.
  test('may send on it, compressed, between broadcasts', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const texts = records(120);
    const raw = (index: number): boolean => index % 3 === 2;
    for (const [index, text] of texts.entries()) {
      if (!raw(index)) await room.broadcast(text);
      else await new Promise((resolve) => a.socket.send(text, resolve));
    }
    await expectMessages(a, texts);
    await expectMessages(
      b,
      texts.filter((_, index) => !raw(index)),
    );
    for (const [index, { isCompressed, reachBytes }] of a.client.tapped.entries()) {
      expect(isCompressed).toBe(true);
      // It begins from nothing, and so does what is broadcast next.
      if (raw(index) || index % 3 === 0) expect(reachBytes).toBe(0);
      else expect(reachBytes).toBeGreaterThan(0);
    }
  });

  test('may send on it in fragments, uncompressed, and in the middle of a turn', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const expected: string[] = [];
    for (const [index, text] of records(60).entries()) {
      await room.broadcast(text);
      expected.push(text);
      if (index % 2 === 0) a.socket.send(text, { compress: false });
      else {
        a.socket.send(text.slice(0, 50), { fin: false });
        a.socket.send(text.slice(50, 60), { fin: false });
        a.socket.send(text.slice(60), { fin: true });
      }
      expected.push(text);
      a.socket.ping('between');
      await vi.waitUntil(() => a.client.inbox.length === expected.length, { interval: 1 });
    }
    await expectMessages(a, expected);
  });

  interface Begun {
    readonly begin: (socket: ws.WebSocket, text: string) => void;
    /** `ws` has written what it was given by then. */
    readonly isWritten?: boolean;
    readonly end?: (socket: ws.WebSocket, text: string) => void;
  }

  const begun: Record<string, Begun> = {
    'that is being compressed': { begin: (socket, text) => socket.send(text) },
    'that waits in the queue': {
      begin: (socket, text) => {
        socket.send('first '.repeat(10_000));
        socket.send(text);
      },
    },
    'that is half given': {
      begin: (socket, text) => socket.send(text.slice(0, 500), { fin: false }),
      end: (socket, text) => socket.send(text.slice(500), { fin: true }),
    },
    'that is half written': {
      begin: (socket, text) => socket.send(text.slice(0, 500), { fin: false }),
      isWritten: true,
      end: (socket, text) => socket.send(text.slice(500), { fin: true }),
    },
    'that is written': { begin: (socket, text) => socket.send(text), isWritten: true },
  };

  test.each(Object.entries(begun))(
    'may have sent on it before it joins: a message %s',
    async (_, { begin, isWritten = false, end }) => {
      const room = await Room.open();
      const [veteran, a] = [await room.member('veteran'), await room.visitor('a')];
      for (const text of records(10)) await room.broadcast(text);
      // A context that `ws` believes in.
      for (const text of records(10)) await new Promise((resolve) => a.socket.send(text, resolve));
      const raw = records(20, 3).join();
      begin(a.socket, raw);
      if (isWritten) await vi.waitUntil(() => a.socket.bufferedAmount === 0, { interval: 1 });
      void room.pool.newConnection(a.connection);
      for (const text of records(3, 10)) void room.pool.broadcastMessage('default', text);
      await nextTurn();
      end?.(a.socket, raw);
      for (const text of records(3, 13)) await room.broadcast(text);
      await vi.waitUntil(() => a.connection.bufferedAmount === 0, { interval: 1 });
      await new Promise((resolve) => a.socket.send(raw, resolve));
      await room.broadcast(record(16));
      await vi.waitUntil(() => a.client.inbox.includes(record(16)), { interval: 1 });
      const received = (await a.client.settled()).map(({ message }) => message.toString());
      expect(received).toEqual(a.client.inbox);
      // Inside the owner's message no other one may start: the broadcasts of that turn have failed for this member.
      expect(received.filter((text) => text.length < 200)).toEqual(
        end === undefined ? records(17) : [...records(10), ...records(4, 13)],
      );
      expect(received.filter((text) => text === raw)).toHaveLength(2);
      await expectMessages(veteran, records(17));
    },
  );
});

describe('what was compressed but not written', () => {
  // Taken for received, it would be referred to by the next broadcast.
  test('for a slow reader, is not referred to', async () => {
    const room = await Room.open({
      compression: { history: true },
      maxBufferedBytes: 300,
      onSlow: 'drop',
    });
    const [a, slow] = [await room.member('a'), await room.member('slow')];
    const expected: string[] = [];
    for (const [index, text] of records(200).entries()) {
      if (index % 40 === 10) tcpOf(slow.socket).cork();
      if (index % 40 === 30) tcpOf(slow.socket).uncork();
      const { dropped } = await room.pool.broadcastMessage('default', text);
      if (dropped === 0) expected.push(text);
    }
    expect(room.pool.stats().dropped).toBe(200 - expected.length);
    expect(expected.length).toBeLessThan(180);
    await expectMessages(slow, expected);
    await expectMessages(a, records(200));
  });

  test('for a connection that leaves while it is being compressed, is not referred to when it is back', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const large = records(300).join();
    const after = records(5);
    await room.broadcast(record(0));
    void room.pool.broadcastMessage('default', large);
    void room.pool.removeConnection(b.connection);
    void room.pool.newConnection(b.connection);
    for (const text of after) await room.broadcast(text);
    await expectMessages(a, [record(0), large, ...after]);
    await expectMessages(b, [record(0), large, ...after]);
    expect(a.client.tapped[1]!.isCompressed).toBe(true);
    expect(a.client.tapped[2]!.reachBytes).toBeGreaterThan(0);
    expect(b.client.tapped[2]!.reachBytes).toBe(0);
  });

  test('for a connection that closes meanwhile, does not disturb the others', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const large = records(300).join();
    const result = room.pool.broadcastMessage('default', large);
    b.socket.terminate();
    expect(await result).toEqual({ recipients: 2, sent: 1, dropped: 0, failed: 1 });
    const again = await room.member('b');
    for (const text of records(5)) await room.broadcast(text);
    await expectMessages(a, [large, ...records(5)]);
    await expectMessages(again, records(5));
  });

  // The plain bytes for the one that could not wait were kept for all.
  test('in time for a connection that is closed, is compressed for the others', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const large = records(300).join();
    await room.broadcast(record(0));
    void room.pool.broadcastMessage('default', large);
    await b.connection.close();
    expect(b.client.inbox).toEqual([record(0), large]);
    await room.broadcast(record(1));
    await expectMessages(a, [record(0), large, record(1)]);
    expect(a.client.tapped.map(({ isCompressed }) => isCompressed)).toEqual([true, true, true]);
    expect(a.client.tapped[1]!.reachBytes).toBeGreaterThan(0);
  });

  test('because flush() did not wait for it, is not referred to', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const large = records(300).join();
    const expected = [record(0), large, ...records(5)];
    await room.broadcast(record(0));
    void room.pool.broadcastMessage('default', large);
    void room.pool.broadcastMessage('default', record(0));
    room.pool.flush();
    for (const text of records(5).slice(1)) await room.broadcast(text);
    for (const member of [a, b]) await expectMessages(member, expected);
    expect(a.client.tapped.map(({ isCompressed }) => isCompressed).slice(0, 3)).toEqual([true, false, true]);
  });
});

describe('messages of every kind', () => {
  test.each([9, 15])('larger than the window leave all of it to the next (%i bits)', async (bits) => {
    const room = await Room.open({ compression: { history: { bytes: 32_768 } } });
    const options = { perMessageDeflate: { serverMaxWindowBits: bits } };
    const [a, b] = [await room.member('a', options), await room.member('b', options)];
    const large = records(2_000).join();
    const texts = [record(1), large, large.slice(-200), record(2), large.slice(0, 8_000), large];
    for (const text of texts) await room.broadcast(text);
    for (const member of [a, b]) await expectMessages(member, texts);
    for (const { isCompressed, reachBytes } of a.client.tapped.slice(1)) {
      expect(isCompressed).toBe(true);
      expect(reachBytes).toBeGreaterThan(0);
    }
  });

  test('the empty and the tiny ones go out plain, and set nobody back', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const messages = ['', record(1), Buffer.alloc(0), '', record(2), 'x', Buffer.from('y'), record(3)];
    for (const message of messages) await room.broadcast(message);
    for (const message of messages) void room.pool.broadcastMessage('default', message);
    await expectMessages(a, [...messages, ...messages]);
    for (const [index, { message, isCompressed, reachBytes }] of a.client.tapped.entries()) {
      expect(isCompressed).toBe(message.length > 16);
      if (isCompressed && index > 1) expect(reachBytes).toBeGreaterThan(0);
    }
  });

  test('enter the history from 16 bytes on', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    for (const length of [15, 16, 15, 16]) await room.broadcast('x'.repeat(length));
    await a.client.settled();
    expect(a.client.tapped.map(({ isCompressed }) => isCompressed)).toEqual([false, true, false, true]);
  });

  test('text and binary share one history', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const messages = records(30).map((text, index) => (index % 2 === 0 ? text : Buffer.from(text)));
    for (const message of messages) await room.broadcast(message);
    await expectMessages(a, messages);
    for (const { reachBytes } of a.client.tapped.slice(1)) expect(reachBytes).toBeGreaterThan(0);
    expect(room.pool.stats().compressions).toBe(30);
  });

  test('random bytes, which compression makes longer, keep everybody in step', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const random = new Random(5);
    const messages = [20, 400, 9_000, 70_000].map((length) => random.bytes(length, false));
    for (const message of messages) {
      await room.broadcast(message);
      await room.broadcast(message.subarray(-300));
    }
    await expectMessages(
      a,
      messages.flatMap((message) => [message, message.subarray(-300)]),
    );
    expect(a.client.tapped.filter(({ reachBytes }) => reachBytes > 0).length).toBeGreaterThanOrEqual(4);
  });

  test('a Blob, which has to be read first, is sent plain and not referred to', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const messages: (string | Blob)[] = [record(1), new Blob([record(2)]), record(3), record(4)];
    for (const message of messages) await room.pool.broadcastMessage('default', message);
    await vi.waitUntil(() => a.client.inbox.length === 4, { interval: 1 });
    await expectMessages(a, [record(1), Buffer.from(record(2)), record(3), record(4)]);
    expect(a.client.tapped.map(({ isCompressed }) => isCompressed)[1]).toBe(false);
  });
});

describe('those who are behind', () => {
  test('one that joins refers only to what it has got, and is in step after the length of the history', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    for (const text of records(20)) await room.broadcast(text);
    const b = await room.member('b');
    const [toA, toB] = [spyWrites(a.socket), spyWrites(b.socket)];
    let held = 0;
    for (const text of records(20, 20)) {
      const { compressions } = room.pool.stats();
      await room.broadcast(text);
      const [ofA, ofB] = [await last(a), await last(b)];
      expect(ofB.reachBytes).toBeLessThanOrEqual(held);
      if (held > 0) expect(ofB.reachBytes).toBeGreaterThan(0);
      if (held >= SMALL_HISTORY_BYTES) expect(ofB.wire).toEqual(ofA.wire);
      const variants = held >= SMALL_HISTORY_BYTES ? 1 : 2;
      expect(room.pool.stats().compressions - compressions).toBe(variants);
      held += text.length;
    }
    void room.pool.broadcastMessage('default', record(40));
    await room.broadcast(record(41));
    expect(toB.at(-1)).toBe(toA.at(-1));
    await expectMessages(a, records(42));
    await expectMessages(b, records(22, 20));
  });

  test('one that joins takes nothing from those who are nearly in step', async () => {
    const room = await Room.open({ compression: { history: { bytes: 5_000 } } });
    const a = await room.member('a');
    for (const text of records(20)) await room.broadcast(text);
    const b = await room.member('b');
    for (const text of records(3, 20)) await room.broadcast(text);
    const c = await room.member('c');
    await room.broadcast(record(20));
    const [ofA, ofB, ofC] = [await last(a), await last(b), await last(c)];
    expect(ofC.reachBytes).toBe(0);
    expect(ofB.reachBytes).toBeGreaterThan(0);
    expect(ofB.wire.length).toBeLessThan(ofC.wire.length);
    expect(ofA.isCompressed).toBe(true);
  });

  test('get a large message compressed also when they hold some of the history', async () => {
    const room = await Room.open({ compression: { history: { bytes: 5_000 } } });
    const a = await room.member('a');
    for (const text of records(20)) await room.broadcast(text);
    const b = await room.member('b');
    await room.broadcast(record(20));
    const large = records(200).join();
    await room.broadcast(large);
    const [ofA, ofB] = [await last(a), await last(b)];
    expect([ofA.isCompressed, ofB.isCompressed, ofB.reachBytes]).toEqual([true, true, 0]);
    expect(ofA.reachBytes).toBeGreaterThan(0);
    await room.broadcast(record(21));
    expect((await last(b)).reachBytes).toBeGreaterThan(0);
  });

  // Eight bytes more than a newcomer held were taken for its own: too few for ordinary messages to refer to.
  test('one that joins is not sent references to the last bytes before it joined', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const random = new Random(1);
    const noise = random.bytes(100, false);
    const before = random.bytes(40, false);
    await room.broadcast(before);
    const b = await room.member('b');
    const messages = [noise, Buffer.concat([before.subarray(-8), noise])];
    for (const message of messages) await room.broadcast(message);
    await expectMessages(a, [before, ...messages]);
    await expectMessages(b, messages);
    expect(a.client.tapped.at(-1)!.reachBytes).toBeGreaterThan(noise.length);
    expect(b.client.tapped.at(-1)!.reachBytes).toBeGreaterThan(90);
  });

  test('one that was excepted begins from nothing, and is in step after the length of the history', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    for (const text of records(20)) await room.broadcast(text);
    await room.broadcast(record(20), ['b']);
    let held = 0;
    for (const text of records(20, 21)) {
      await room.broadcast(text);
      const [ofA, ofB] = [await last(a), await last(b)];
      expect(ofB.reachBytes).toBeLessThanOrEqual(held);
      if (held >= SMALL_HISTORY_BYTES) expect(ofB.wire).toEqual(ofA.wire);
      held += text.length;
    }
    await expectMessages(a, records(41));
    await expectMessages(b, [...records(20), ...records(20, 21)]);
  });

  test.each([9, 15])(
    'cost at most two variants more, however many they are and by however much (%i bits)',
    async (bits) => {
      const room = await Room.open({ compression: { history: { bytes: 32_768 } } });
      const options = { perMessageDeflate: { serverMaxWindowBits: bits } };
      const members: Member[] = [];
      const expected: string[][] = [];
      for (const [turn, text] of records(60).entries()) {
        // One joins, one is excepted, one is sent to by the owner of its socket.
        if (turn < 20) expected[members.push(await room.member(String(turn), options)) - 1] = [];
        const left = members[(turn * 7) % members.length]!;
        const { compressions } = room.pool.stats();
        await room.broadcast(text, [left.connection.id]);
        expect(room.pool.stats().compressions - compressions).toBeLessThanOrEqual(3);
        for (const [index, member] of members.entries()) if (member !== left) expected[index]!.push(text);
        const index = (turn * 5) % members.length;
        await new Promise((resolve) => members[index]!.socket.send(text, resolve));
        expected[index]!.push(text);
      }
      for (const [index, member] of members.entries()) await expectMessages(member, expected[index]!);
    },
  );

  // A member that is excepted in the middle of a turn has its own slice of the turn's messages, and each slice that
  // began elsewhere had variants of its own: 50 members that each told the others something in one turn cost 1,274
  // compressions instead of 50.
  test('cost a few variants more when everybody broadcasts to all others in one turn', async () => {
    const room = await Room.open({ compression: { history: true } });
    const members: Member[] = [];
    for (let id = 0; id < 30; id++) members.push(await room.member(String(id)));
    const texts = records(30);
    for (const [id, text] of texts.entries()) void room.pool.broadcastMessage('default', text, [String(id)]);
    for (const [id, member] of members.entries()) await expectMessages(member, texts.toSpliced(id, 1));
    expect(room.pool.stats().compressions).toBeLessThanOrEqual(4 * 30);
  });

  test('get large messages compressed, too, and nobody pays for that when there are none', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    const large = records(200).join();
    for (const text of [...records(20), large]) await room.broadcast(text);
    expect(room.pool.stats().compressions).toBe(21);
    const b = await room.member('b');
    await room.broadcast(large);
    expect(room.pool.stats().compressions).toBe(23);
    const [ofA, ofB] = [await last(a), await last(b)];
    expect([ofA.isCompressed, ofB.isCompressed, ofB.reachBytes]).toEqual([true, true, 0]);
    expect(ofA.reachBytes).toBeGreaterThan(0);
    await expectMessages(a, [...records(20), large, large]);
    await expectMessages(b, [large]);
  });

  test('are not those who take part in no history: a large message is not compressed for them', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    await room.broadcast(record(0));
    const plain = await room.member('plain', { perMessageDeflate: false });
    const large = [records(200).join(), records(300).join()] as const;
    await room.broadcast(large[0]);
    expect(room.pool.stats().compressions).toBe(2);
    await room.broadcast(record(1), ['plain']);
    await room.broadcast(large[1]);
    expect(room.pool.stats().compressions).toBe(4);
    await expectMessages(a, [record(0), large[0], record(1), large[1]]);
    await expectMessages(plain, large);
  });

  test('one that is sent something private in the middle of a turn stays in step', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    for (const [index, text] of records(20).entries()) {
      void room.pool.broadcastMessage('default', text);
      if (index === 10) void b.connection.send('private');
    }
    await expectMessages(a, records(20));
    await expectMessages(b, [...records(11), 'private', ...records(9, 11)]);
    expect(room.pool.stats().compressions).toBe(20);
  });
});

describe('order', () => {
  test('nothing overtakes what is compressed in the thread pool', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b')];
    const large = records(200);
    const expected: Record<'a' | 'b', string[]> = { a: [], b: [] };
    for (let round = 0; round < 10; round++) {
      const texts = [record(round), `${round} ${large.join()}`, record(round + 1)];
      for (const text of texts) {
        void room.pool.broadcastMessage('default', text);
        expected.a.push(text);
        expected.b.push(text);
        if (round % 2 === 0) await nextTurn();
      }
      void b.connection.send(`private ${round}`);
      expected.b.push(`private ${round}`);
      if (round % 3 === 0) await nextTurn();
    }
    expect(await a.client.exactly(30)).toEqual(expected.a);
    expect(await b.client.exactly(40)).toEqual(expected.b);
    const isLarge = ({ message }: TappedMessage): boolean => message.length > 8_192;
    expect(a.client.tapped.filter(isLarge).every(({ isCompressed }) => isCompressed)).toBe(true);
    expect(a.client.tapped.at(-1)!.reachBytes).toBeGreaterThan(0);
    expect(b.client.tapped.at(-2)!.reachBytes).toBeGreaterThan(0);
  });
});

describe('private messages', () => {
  // Compressed together with what an attacker can have broadcast, a secret could be guessed from the size of its frame.
  test('have RSV1 unset, whatever they are and however they are sent, and set nobody back', async () => {
    const room = await Room.open();
    const { pool } = room;
    const a = await room.member('a');
    const { connection, socket } = a;
    await room.broadcast(record(1));
    void connection.send(record(1));
    void connection.send(Buffer.from(record(1)));
    void connection.sendJson({ text: record(1) });
    void connection.sendError({ text: record(1) });
    void pool.send('default', 'a', record(1));
    void connection.send(records(500).join());
    await connection.send(new Blob([record(1)]));
    await vi.waitUntil(() => connection.bufferedAmount === 0, { interval: 1 });
    await room.broadcast(record(2));
    expect((await last(a)).reachBytes).toBeGreaterThan(0);
    // While `ws` compresses something itself, they wait in its queue.
    socket.send(records(500).join());
    void connection.send('waits, and is longer than the threshold');
    void connection.sendThenClose('bye, and is longer than the threshold', 4000);
    await a.client.closed;
    const isPlain = a.client.tapped.map(({ isCompressed }) => !isCompressed);
    expect(isPlain).toEqual([false, true, true, true, true, true, true, true, false, false, true, true]);
    expect(a.client.inbox.slice(-2)).toEqual([
      'waits, and is longer than the threshold',
      'bye, and is longer than the threshold',
    ]);
  });
});

describe('a history', () => {
  test('is gone with its namespace', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    for (const text of records(20)) await room.broadcast(text);
    await room.pool.removeConnection(a.connection);
    expect(room.pool.hasNamespace('default')).toBe(false);
    await room.pool.newConnection(a.connection);
    const { compressions } = room.pool.stats();
    // A large one is compressed for those in step at once, and again for a newcomer: unless there is no history.
    const large = records(200).join();
    await room.broadcast(large);
    expect(room.pool.stats().compressions - compressions).toBe(1);
    await room.broadcast(record(1));
    await expectMessages(a, [...records(20), large, record(1)]);
    const reaches = a.client.tapped.map(({ reachBytes }) => reachBytes);
    expect(reaches.at(-2)).toBe(0);
    expect(reaches.at(-1)).toBeGreaterThan(0);
  });

  test('is not shared with other namespaces', async () => {
    const room = await Room.open();
    const [a, b] = [await room.member('a'), await room.member('b', { namespace: 'other' })];
    for (const text of records(20)) {
      void room.pool.broadcastMessage('default', text);
      void room.pool.broadcastMessage('other', `other ${text}`);
      await nextTurn();
    }
    await expectMessages(a, records(20));
    await expectMessages(
      b,
      records(20).map((text) => `other ${text}`),
    );
    expect(b.client.tapped[0]!.reachBytes).toBe(0);
  });

  test('of two namespaces can be followed by two connections over one socket', async () => {
    const room = await Room.open();
    const first = await room.member('a');
    const second = new Connection('a', 'other', first.socket);
    await room.pool.newConnection(second);
    const witness = await room.member('b', { namespace: 'other' });
    const expected: string[] = [];
    const sent: string[] = [];
    for (const [index, text] of records(60).entries()) {
      const namespace = index % 6 < 3 ? 'default' : 'other';
      await room.pool.broadcastMessage(namespace, text);
      expected.push(text);
      if (namespace === 'other') sent.push(text);
    }
    await expectMessages(first, expected);
    await expectMessages(witness, sent);
    for (const [index, { reachBytes }] of first.client.tapped.entries()) {
      if (index % 3 === 0) expect(reachBytes).toBe(0);
      else expect(reachBytes).toBeGreaterThan(0);
    }
  });

  test('may be left for a pool without one, and for one with another', async () => {
    const room = await Room.open();
    const pools = [
      room.pool,
      new ConnectionsPool(),
      new ConnectionsPool({ compression: { history: true } }),
      room.pool,
    ];
    const [veteran, a] = [await room.member('veteran'), await room.visitor('a')];
    let serial = 0;
    for (const [index, pool] of [...pools, ...pools].entries()) {
      await pool.newConnection(a.connection);
      for (let i = 0; i < 5; i++) await pool.broadcastMessage('default', record(serial++));
      await vi.waitUntil(() => a.client.inbox.length === serial, { interval: 1 });
      const { isCompressed, reachBytes } = await last(a);
      expect(isCompressed).toBe(true);
      // What `ws` compresses by itself refers to nothing from now on.
      expect(reachBytes > 0).toBe(index % 4 !== 1);
      await pool.removeConnection(a.connection);
    }
    await expectMessages(a, records(serial));
    await expectMessages(veteran, veteranRecords(serial));
  });

  test('may be followed by a new connection over the socket of an old one', async () => {
    const room = await Room.open();
    const a = await room.member('a');
    for (const text of records(10)) await room.broadcast(text);
    await room.pool.removeConnection(a.connection);
    await room.pool.newConnection(new Connection('a', 'default', a.socket));
    for (const text of records(10, 10)) await room.broadcast(text);
    await expectMessages(a, records(20));
    const reaches = a.client.tapped.map(({ reachBytes }) => reachBytes);
    expect([reaches[9]! > 0, reaches[10], reaches[11]! > 0]).toEqual([true, 0, true]);
  });
});

/** Of four pools by turns, each with five records, those of the first and the last. */
function veteranRecords(count: number): string[] {
  return records(count).filter((_, serial) => [0, 3].includes(Math.floor(serial / 5) % 4));
}

const HISTORIES = [512, 700, 2_048, 8_192, 20_000, 32_768];

function modelOptions(seed: number): Omit<HistoryModelOptions, 'loopback' | 'steps'> {
  const isLossy = seed % 3 === 2;
  const historyBytes = HISTORIES[seed % HISTORIES.length]!;
  return { seed, historyBytes, ...(isLossy && { maxBufferedBytes: 40_000 }) };
}

const SERVERS: ws.PerMessageDeflateOptions[] = [
  { threshold: 0 },
  {},
  { threshold: 100, zlibDeflateOptions: { level: 1, memLevel: 5 } },
  { threshold: 0, zlibDeflateOptions: { level: 9 }, concurrencyLimit: 2 },
];

describe('every client receives exactly its messages', () => {
  const seeds = Array.from({ length: Math.ceil(STEPS / STEPS_PER_SEED) }, (_, seed) => seed);

  test.each(seeds)(
    'whoever joins, leaves, is excepted, slow, sent to or closed (seed %i)',
    async (seed) => {
      const loopback = await Loopback.start({ perMessageDeflate: SERVERS[seed % SERVERS.length]! });
      await new HistoryModel({ ...modelOptions(seed), loopback, steps: STEPS_PER_SEED }).run();
    },
    30_000,
  );
});

const require = createRequire(import.meta.url);
/** Packages that are `ws` under another name. */
const PACKAGES = ['ws-8.0', 'ws-8.5', 'ws-8.11', 'ws-8.14', 'ws-8.17', 'ws-8.18', 'ws-8.21'];
/** The first version that takes Blobs. */
const BLOBS_SINCE_MINOR = 18;

describe.each(PACKAGES)('%s', (name) => {
  const manifest = path.join(path.dirname(require.resolve(name)), 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };

  async function start(): Promise<Loopback> {
    // The name that all versions know.
    const { Server } = require(name) as { Server: typeof ws.WebSocketServer };
    const server = new Server({ host: '127.0.0.1', port: 0, ...TAKEOVER });
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      server.close();
    });
    return new Loopback(server);
  }

  test('shares the history, and lets the owner of a socket send on it', async () => {
    const room = new Room(await start());
    const [a, b] = [await room.member('a'), await room.member('b')];
    for (const text of records(10)) await room.broadcast(text);
    await new Promise((resolve) => b.socket.send(record(10), resolve));
    for (const text of records(10, 11)) await room.broadcast(text);
    await expectMessages(a, records(21).toSpliced(10, 1));
    await expectMessages(b, records(21));
    expect(room.pool.stats().compressedMessages).toBe(20);
    expect((await last(a)).reachBytes).toBeGreaterThan(0);
  });

  test.each([1, 2])(
    'gives every client exactly its messages (seed %i)',
    async (seed) => {
      const hasBlobs = Number(version.split('.')[1]) >= BLOBS_SINCE_MINOR;
      const loopback = await start();
      await new HistoryModel({ ...modelOptions(seed), loopback, hasBlobs, steps: 120 }).run();
    },
    30_000,
  );
});
