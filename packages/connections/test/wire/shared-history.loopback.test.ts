import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, expect, test, vi } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { expectMessages, last, Room, sum, type Member } from '../support/history-room.js';
import { record, records } from '../support/records.js';
import { Random } from '../support/random.js';
import type { TappedMessage } from '../support/strict-reader.js';

interface Sender {
  readonly _extensions: { readonly 'permessage-deflate': { readonly params: object } };
}

beforeEach(stopClock);

test('one compression serves every member that keeps a context, and refers to what was broadcast before', async () => {
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
  'a message never refers to more than a window of %i bits holds, nor to more than the history',
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

test('windows of all sizes cost three compressions, or one if the message and its history fit all of them', async () => {
  const room = await Room.open({ compression: { history: { bytes: 32_768 } } });
  const members: Member[] = [];
  for (const bits of [9, 10, 11, 12, 13, 14, 15, 9, 15]) {
    const options = { perMessageDeflate: { serverMaxWindowBits: bits } };
    members.push(await room.member(String(members.length), options));
  }
  const compressions = async (text: string): Promise<number> => {
    const before = room.pool.stats().compressions;
    await room.broadcast(text);
    return room.pool.stats().compressions - before;
  };
  const texts = [record(1), records(80).join(), ...records(30, 100)];
  const counts = [];
  for (const text of texts) counts.push(await compressions(text));
  expect(counts).toEqual([1, 3, ...records(30).map(() => 3)]);
  for (const member of members) await expectMessages(member, texts);
});

test('clients that agreed to no context takeover are served as without a history', async () => {
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

// zlib uses 9 bits for 8 in raw streams: more than the window of the peer.
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

test.each([9, 15])(
  'a message larger than the window leaves all of it to the next (%i bits)',
  async (bits) => {
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
  },
);

test('empty and tiny messages are sent plain, and keep everybody in step', async () => {
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

test('messages enter the history from 16 bytes on', async () => {
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

test('no message overtakes one that is compressed in the thread pool', async () => {
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

// If a secret were compressed together with text that an attacker can have broadcast, it could be guessed from the size
// of its frame.
test('private messages never have RSV1 set, and keep everybody in step', async () => {
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

// A buffer of 93 KB was reused after the call. The dictionary held its old bytes and the wire its new ones, so every
// client received a wrong text in the next broadcast.
test('a large buffer that is used again changes no other message', async () => {
  const room = await Room.open({ compression: { history: true } });
  const [a, b] = [await room.member('a'), await room.member('b')];
  const big = Buffer.from('account 4711 balance 1000 EUR; '.repeat(3_000));
  const original = Buffer.from(big);
  const statement = `statement: ${'account 4711 balance 1000 EUR; '.repeat(3)}`;
  void room.pool.broadcastMessage('default', big);
  big.fill('account 6666 balance 9999 EUR; ');
  await nextTurn();
  await room.broadcast(statement);
  for (const member of [a, b]) await expectMessages(member, [original, statement]);
  expect((await last(a)).reachBytes).toBeGreaterThan(0);
});
