import { beforeEach, expect, test } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { spyWrites } from '../support/engine.js';
import { expectMessages, last, Room, SMALL_HISTORY_BYTES, type Member } from '../support/history-room.js';
import { record, records } from '../support/records.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

beforeEach(stopClock);

test('a member that joins refers only to what it has got, and is in step after the length of the history', async () => {
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

test('a member that joins does not set back members that are nearly in step', async () => {
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

test('members that are behind get a large message compressed even if they have some of the history', async () => {
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

// Eight bytes more than a newcomer had were counted as received: too few for ordinary messages to refer to.
test('a member that joins is not sent references to the last bytes before it joined', async () => {
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

test('a member that was excepted begins without history, and is in step after the length of the history', async () => {
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

const TURNS = runs({ quick: 30, ci: 60 });

test.each([9, 15])(
  'members that are behind cost at most two more variants, however many and however far behind they are (%i bits)',
  async (bits) => {
    const room = await Room.open({ compression: { history: { bytes: 32_768 } } });
    const options = { perMessageDeflate: { serverMaxWindowBits: bits } };
    const members: Member[] = [];
    const expected: string[][] = [];
    for (const [turn, text] of records(TURNS).entries()) {
      // One joins, one is excepted, one is sent to by the owner of its socket.
      if (turn < TURNS / 3) expected[members.push(await room.member(String(turn), options)) - 1] = [];
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

// A member that is excepted in the middle of a turn has its own slice of the turn's messages, and each slice with
// another start had its own variants: 50 members that each broadcast to the others in one turn cost 1,274 compressions
// instead of 50.
test('members that are behind cost a few more variants when everybody broadcasts to all others in one turn', async () => {
  const room = await Room.open({ compression: { history: true } });
  const members: Member[] = [];
  for (let id = 0; id < 30; id++) members.push(await room.member(String(id)));
  const texts = records(30);
  for (const [id, text] of texts.entries()) void room.pool.broadcastMessage('default', text, [String(id)]);
  for (const [id, member] of members.entries()) await expectMessages(member, texts.toSpliced(id, 1));
  expect(room.pool.stats().compressions).toBeLessThanOrEqual(4 * 30);
});

test('members that are behind get large messages compressed, at no cost when no member is behind', async () => {
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

test('a large message is not compressed for members that take part in no history', async () => {
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

test('a member that is sent something private in the middle of a turn stays in step', async () => {
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
