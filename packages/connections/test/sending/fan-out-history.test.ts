import { describe, expect, test, vi } from 'vitest';
import type { ConnectionsPool } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import type { FakeWsSocket } from '../support/fake-ws-socket.js';
import { records } from '../support/records.js';
import { sharingPool, type SharingMember } from '../support/sharing-pool.js';
import { slowClock } from '../support/slow-clock.js';
import { holdDeflate } from '../support/zlib-spies.js';

/** Larger than what is compressed at once, and different for each seed, in about 10,000 bytes. */
const large = (seed: number): string => records(100, seed * 1_000).join();

/** How many compressions one broadcast in a turn of its own takes. */
async function compressionsOf(pool: ConnectionsPool, message: string): Promise<number> {
  const { compressions } = pool.stats();
  await pool.broadcastMessage('default', message);
  return pool.stats().compressions - compressions;
}

const reaches = ({ read }: SharingMember): readonly number[] => read().map(({ reachBytes }) => reachBytes);
const isCompressed = ({ read }: SharingMember): readonly boolean[] =>
  read().map((message) => message.isCompressed);

test('members in step are written the very same buffer, one for each turn', async () => {
  const { pool, join } = sharingPool();
  const members = ['a', 'b', 'c'].map((id) => join(id));
  const texts = records(6);
  await pool.broadcastMessage('default', texts[0]!);
  const written = members.map(({ socket }) => socket._socket.chunks.length);
  for (const text of texts.slice(1)) void pool.broadcastMessage('default', text);
  pool.flush();
  const [first, ...others] = members.map(({ socket }, index) => socket._socket.chunks.slice(written[index]));
  expect(first).toHaveLength(1);
  for (const chunks of others) {
    expect(chunks).toHaveLength(1);
    expect(chunks[0]).toBe(first![0]);
  }
  expect(pool.stats().compressions).toBe(6);
  for (const { texts: received } of members) expect(received()).toEqual(texts);
});

test('a member that joins costs one more compression until the others refer to nothing older', async () => {
  const { pool, join } = sharingPool({ compression: { history: { bytes: 512 } } });
  const a = join('a');
  const texts = records(20);
  for (const text of texts.slice(0, 10)) expect(await compressionsOf(pool, text)).toBe(1);
  const b = join('b');
  const compressions: number[] = [];
  for (const text of texts.slice(10)) compressions.push(await compressionsOf(pool, text));
  expect(compressions.slice(0, 4)).toEqual([2, 2, 2, 2]);
  expect(compressions.slice(-3)).toEqual([1, 1, 1]);
  expect(reaches(b)[0]).toBe(0);
  expect(a.texts()).toEqual(texts);
  expect(b.texts()).toEqual(texts.slice(10));
});

test('large messages are compressed once more for a member that has just joined, until it is known to be in step', async () => {
  const { pool, join } = sharingPool();
  const a = join('a');
  await pool.broadcastMessage('default', large(0));
  const b = join('b');
  const compressions: number[] = [];
  for (const seed of [1, 2, 3]) compressions.push(await compressionsOf(pool, large(seed)));
  expect(compressions).toEqual([2, 2, 1]);
  expect(a.texts()).toEqual([0, 1, 2, 3].map(large));
  expect(b.texts()).toEqual([1, 2, 3].map(large));
  for (const member of [a, b]) expect(isCompressed(member)).not.toContain(false);
});

test('a tiny message, which is no part of the history, does not hide that a member has just joined', async () => {
  const { pool, join } = sharingPool();
  join('a');
  for (const text of records(20)) await pool.broadcastMessage('default', text);
  const b = join('b');
  await pool.broadcastMessage('default', 'tiny');
  expect(await compressionsOf(pool, large(1))).toBe(2);
  expect(isCompressed(b)).toEqual([false, true]);
});

test('a member without compression costs none, whether it joins or is sent something of its own', async () => {
  const { pool, join } = sharingPool();
  const a = join('a');
  await pool.broadcastMessage('default', large(1));
  expect(await compressionsOf(pool, large(2))).toBe(1);
  const plain = join('plain', 'none');
  expect(await compressionsOf(pool, large(3))).toBe(1);
  const result = pool.broadcastMessage('default', large(4));
  void plain.connection.send('private');
  expect(await result).toMatchObject({ sent: 2 });
  expect(await compressionsOf(pool, large(5))).toBe(1);
  expect(plain.texts()).toEqual([large(3), large(4), 'private', large(5)]);
  expect(a.texts()).toEqual([1, 2, 3, 4, 5].map(large));
});

test('a member that joins in the middle of a turn gets the rest of it, and can read that', async () => {
  const { pool, join } = sharingPool();
  const a = join('a');
  const texts = records(8);
  await pool.broadcastMessage('default', texts[0]!);
  void pool.broadcastMessage('default', texts[1]!);
  const [b, plain] = [join('b'), join('plain', 'none')];
  for (const text of texts.slice(2)) void pool.broadcastMessage('default', text);
  pool.flush();
  expect(a.texts()).toEqual(texts);
  for (const { texts: received } of [b, plain]) expect(received()).toEqual(texts.slice(2));
  expect(isCompressed(b)).not.toContain(false);
});

test('members of different ages cost one more variant, also if they are written to over several turns', async () => {
  const clock = slowClock();
  const { pool, join } = sharingPool({ maxFlushMs: 2, compression: { history: { bytes: 4_000 } } });
  const members = [join('oldest')];
  const texts = records(5) as [string, string, string, string, string];
  await pool.broadcastMessage('default', texts[0]);
  for (let count = 0; count < 60; count++) members.push(join(`${count}`));
  await pool.broadcastMessage('default', texts[1]);
  // Thirty of them now lack one in the middle: of all that are written to on their own, they hold the least, and come first.
  const young = Array.from({ length: 30 }, (_, id) => `${id}`);
  await pool.broadcastMessage('default', texts[2], young);
  await pool.broadcastMessage('default', texts[3]);
  for (const { socket } of members) socket._socket.onWrite = () => clock.pass(1);
  expect(await compressionsOf(pool, texts[4])).toBe(2);
  for (const { texts: received } of members) expect(received().at(-1)).toBe(texts[4]);
});

test('members that joined at different times share the bytes that the youngest of them can read', async () => {
  const { pool, join } = sharingPool({ compression: { history: { bytes: 4_000 } } });
  const texts = records(9);
  const members: SharingMember[] = [];
  for (const [index, text] of texts.entries()) {
    if (index % 3 === 0) members.push(join(String(index)));
    await pool.broadcastMessage('default', text);
  }
  expect(await compressionsOf(pool, records(1, 9)[0]!)).toBe(2);
  const [oldest, older, youngest] = members.map(({ socket }) => socket._socket.chunks.at(-1)!);
  expect(older).toBe(youngest);
  expect(oldest!.length).toBeLessThanOrEqual(older!.length);
  for (const [index, { texts: received }] of members.entries())
    expect(received()).toEqual(records(10 - 3 * index, 3 * index));
});

test('what follows a large message to a room in one turn refers to nothing before it, for the members of the room', async () => {
  const { pool, join } = sharingPool();
  const [a, b] = [join('a'), join('b')];
  a.connection.join('red');
  const texts = records(4);
  await pool.broadcastMessage('default', texts[0]!);
  await pool.broadcastMessage('default', texts[1]!);
  void pool.broadcastMessage('default', large(1), { rooms: 'red' });
  await pool.broadcastMessage('default', texts[2]!);
  await pool.broadcastMessage('default', texts[3]!);
  expect(a.texts()).toEqual([texts[0], texts[1], large(1), texts[2], texts[3]]);
  expect(b.texts()).toEqual(texts);
  const [, before, inRoom, next, last] = reaches(a);
  expect(before).toBeGreaterThan(0);
  expect([inRoom, next]).toEqual([0, 0]);
  expect(last).toBeGreaterThan(0);
  expect(reaches(b)[2]).toBeGreaterThan(0);
  expect(isCompressed(a)).toEqual([true, true, true, true, true]);
});

test('a large message to a room alone is compressed for its members, and they start again after it', async () => {
  const { pool, join } = sharingPool();
  const a = join('a');
  a.connection.join('red');
  const [first, second, third] = records(3) as [string, string, string];
  await pool.broadcastMessage('default', first);
  await pool.broadcastMessage('default', large(1), { rooms: 'red' });
  await pool.broadcastMessage('default', second);
  await pool.broadcastMessage('default', third);
  expect(a.texts()).toEqual([first, large(1), second, third]);
  expect(isCompressed(a)).toEqual([true, true, true, true]);
  expect(reaches(a).slice(0, 3)).toEqual([0, 0, 0]);
  expect(reaches(a)[3]).toBeGreaterThan(0);
});

test('a small message to a room goes plain between compressed ones, and keeps its members in step', async () => {
  const { pool, join } = sharingPool();
  const [a, b] = [join('a'), join('b')];
  a.connection.join('red');
  const texts = records(3);
  await pool.broadcastMessage('default', texts[0]!);
  void pool.broadcastMessage('default', texts[1]!, { rooms: 'red' });
  await pool.broadcastMessage('default', texts[2]!);
  expect(a.texts()).toEqual(texts);
  expect(b.texts()).toEqual([texts[0], texts[2]]);
  expect(isCompressed(a)).toEqual([true, false, true]);
  expect(reaches(a)[2]).toBeGreaterThan(0);
  expect(pool.stats().compressions).toBe(2);
});

test('no connection is compressed for after the last one that has agreed to it has left', async () => {
  const { pool, join } = sharingPool();
  const [a, b] = [join('a'), join('b')];
  const plain = join('plain', 'none');
  expect(await compressionsOf(pool, large(0))).toBe(1);
  await pool.removeConnection(a.connection);
  expect(await compressionsOf(pool, large(1))).toBe(1);
  await pool.removeConnection(b.connection);
  expect(await compressionsOf(pool, large(2))).toBe(0);
  expect(plain.texts()).toEqual([large(0), large(1), large(2)]);
  expect(b.texts()).toEqual([large(0), large(1)]);
});

test('a message that leaves before it is compressed is plain, and what follows refers to nothing before it', async () => {
  const { pool, join } = sharingPool();
  const members = [join('a'), join('b')];
  const texts = records(4);
  await pool.broadcastMessage('default', texts[0]!);
  await pool.broadcastMessage('default', texts[1]!);
  const deflating = holdDeflate();
  const results = [large(1), texts[2]!].map((text) => pool.broadcastMessage('default', text));
  pool.flush();
  for (const { texts: received } of members) expect(received()).toHaveLength(4);
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 2, sent: 2 });
  deflating.release();
  await pool.broadcastMessage('default', texts[3]!);
  for (const member of members) {
    expect(member.texts()).toEqual([texts[0], texts[1], large(1), texts[2], texts[3]]);
    expect(isCompressed(member)).toEqual([true, true, false, true, true]);
    expect(reaches(member)[3]).toBe(0);
    expect(reaches(member)[4]).toBeGreaterThan(0);
  }
  const [ofA, ofB] = members.map(({ socket }) => socket._socket.chunks.at(-1));
  expect(ofB).toBe(ofA);
});

test('a member that closes during a compression gets the message plain, and the others get it compressed', async () => {
  slowClock();
  const { pool, join } = sharingPool();
  const [a, b] = [join('a'), join('b')];
  await pool.broadcastMessage('default', records(1)[0]!);
  const deflating = holdDeflate();
  const result = pool.broadcastMessage('default', large(1));
  await endTurn();
  expect(b.texts()).toHaveLength(1);
  void b.connection.close();
  expect(isCompressed(b)).toEqual([true, false]);
  deflating.release();
  expect(await result).toMatchObject({ recipients: 2, sent: 2 });
  expect(isCompressed(a)).toEqual([true, true]);
  for (const member of [a, b]) expect(member.texts()).toEqual([records(1)[0], large(1)]);
});

test('what the socket of a member has to send itself goes plain, and keeps the member in step', async () => {
  const { pool, join } = sharingPool();
  const a = join('a');
  const texts = records(3);
  await pool.broadcastMessage('default', texts[0]!);
  const send = vi.spyOn(a.socket, 'send').mockImplementation(() => undefined);
  a.socket._sender._queue.push('what waits in ws');
  expect(await a.connection.send('private')).toBe(true);
  expect(await a.connection.send(Uint8Array.of(1))).toBe(true);
  expect(send.mock.calls).toEqual([
    ['private', { binary: false, compress: false }],
    [Buffer.of(1), { binary: true, compress: false }],
  ]);
  a.socket._sender._queue.pop();
  await pool.broadcastMessage('default', texts[1]!);
  expect(a.texts()).toEqual(texts.slice(0, 2));
  expect(reaches(a)[1]).toBeGreaterThan(0);
});

describe('sockets in a pool with a history', () => {
  const deflateOf = ({ _sender }: FakeWsSocket) => _sender._extensions['permessage-deflate']!;

  const isLeftToSocket = async (
    pool: ConnectionsPool,
    { socket, connection }: SharingMember,
  ): Promise<boolean> => {
    const [before, text] = [socket.sent.length, 'x'.repeat(100)];
    expect(await pool.broadcastMessage('default', text)).toMatchObject({ recipients: 1, sent: 1 });
    expect(await connection.send(text)).toBe(true);
    return socket.sent.length === before + 2;
  };

  test('a socket with a compression context is left to its own send() in a pool without a history', async () => {
    const { pool, join } = sharingPool({ compression: {} });
    expect(await isLeftToSocket(pool, join('a'))).toBe(true);
  });

  test('a socket with a compression context is written frames in a pool with a history, until it leaves', async () => {
    const { pool, join } = sharingPool();
    const a = join('a');
    expect(await isLeftToSocket(pool, a)).toBe(false);
    await pool.removeConnection(a.connection);
    await a.connection.send('own');
    expect(a.socket.sent).toEqual(['own']);
    await pool.newConnection(a.connection);
    expect(await isLeftToSocket(pool, a)).toBe(false);
  });

  test('a socket with a window of 8 bits, for which zlib cannot compress, is left to its own send()', async () => {
    const { pool, join } = sharingPool();
    const a = join('a', 'takeover', (socket) =>
      Object.assign(deflateOf(socket).params, { server_max_window_bits: 8 }),
    );
    expect(await isLeftToSocket(pool, a)).toBe(true);
  });

  test('a socket whose compressor the library cannot take over is left to its own send()', async () => {
    const { pool, join } = sharingPool();
    const a = join('a', 'takeover', (socket) => Object.assign(deflateOf(socket), { compress: undefined }));
    expect(await isLeftToSocket(pool, a)).toBe(true);
  });

  test('a socket without a compression context gets each message compressed on its own, also in a pool with a history', async () => {
    const { pool, join } = sharingPool();
    const a = join('a', 'stateless');
    expect(await isLeftToSocket(pool, a)).toBe(false);
    await pool.broadcastMessage('default', 'x'.repeat(100));
    expect(reaches(a)).toEqual([0, 0, 0]);
    expect(isCompressed(a)).toEqual([true, true, true]);
  });
});
