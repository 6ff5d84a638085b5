import { expect, test, vi } from 'vitest';
import { Connection } from '../../src/index.js';
import { digest } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { isCompressed } from '../support/strict-reader.js';
import { WireClient } from '../support/wire.js';

/** The largest message that is copied when it is sent, in bytes. */
const COPIED_BYTES = 64 * 1024;
const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const OFFER = 'permessage-deflate; server_no_context_takeover';

async function connectMember() {
  const { pool, members } = await poolOf(1);
  return { ...members[0], pool };
}

test('a broadcast value is encoded once, however many clients get it', async () => {
  const { pool, members: all } = await poolOf(3);
  const toJSON = vi.fn(() => ({ price: 1 }));
  await pool.broadcastJsonMessage('default', { toJSON });
  for (const { client } of all) expect(await client.next()).toBe('{"price":1}');
  expect(toJSON).toHaveBeenCalledTimes(1);
});

test('binary of up to 64 KiB may be reused as soon as the call returns', async () => {
  const {
    pool,
    members: [{ client, connection }],
  } = await poolOf(1);
  const bytes = Buffer.alloc(64 * 1024, 1);
  void pool.broadcastMessage('default', bytes);
  bytes.fill(2);
  void connection.send(bytes);
  bytes.fill(3);
  const expected = [Buffer.alloc(64 * 1024, 1), Buffer.alloc(64 * 1024, 2)];
  expect((await client.exactly(2)).map(digest)).toEqual(expected.map(digest));
});

// It was left to the socket's own send() to be compressed, and then written as a plain frame after all.
test('a large private message is compressed', async () => {
  const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
  void new Connection('1', 'default', wire.socket).send('x'.repeat(60_000));
  expect(isCompressed(await wire.frame())).toBe(true);
});

// Frames are written at the end of the turn: if the caller changed the buffer before that, the change was sent.
test.each([1, 125, 126, 65_535, COPIED_BYTES])(
  'a buffer of %i bytes that the caller uses again goes out as it was',
  async (length) => {
    const { client, connection, pool } = await connectMember();
    const buffer = Buffer.alloc(length, 'a');
    const sent = [connection.send(buffer), pool.broadcastMessage('default', buffer)];
    buffer.fill('b');
    sent.push(connection.send(buffer), pool.broadcastMessage('default', buffer.buffer));
    buffer.fill('c');
    await Promise.all(sent);
    const [first, second, third, fourth] = (await client.exactly(4)) as Buffer[];
    const [as, bs] = [Buffer.alloc(length, 'a'), Buffer.alloc(length, 'b')];
    expect(first!.equals(as)).toBe(true);
    expect(second!.equals(as)).toBe(true);
    expect(third!.equals(bs)).toBe(true);
    expect(fourth!.equals(bs)).toBe(true);
  },
);

test('a buffer above 64 KiB arrives whole if it is left alone until the promise resolves', async () => {
  const { client, connection, pool } = await connectMember();
  const large = Buffer.alloc(COPIED_BYTES + 1, 'a');
  expect(await connection.send(large)).toBe(true);
  expect(await pool.broadcastMessage('default', large)).toMatchObject({ sent: 1 });
  const received = (await client.exactly(2)) as Buffer[];
  expect(received.every((message) => message.equals(large))).toBe(true);
});
