import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { encodeFrame, type Frame } from '../../src/wire/frame.js';
import { digest, spyWrites } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { WireClient } from '../support/wire.js';

const bytesOf = ({ chunks }: Frame): Buffer => Buffer.concat(chunks);

test('the broadcasts of a turn leave as their frames, one after the other, and nothing else', async () => {
  const wire = await WireClient.connect(await Loopback.start());
  const pool = new ConnectionsPool();
  await pool.newConnection(new Connection('1', 'default', wire.socket));
  const messages = ['', 'text', Buffer.from([1, 2, 3]), 'x'.repeat(200), Buffer.alloc(70_000, 7), '𝄞'];
  for (const message of messages) void pool.broadcastMessage('default', message);
  const expected = Buffer.concat(messages.map((message) => bytesOf(encodeFrame(message))));
  expect((await wire.bytes(expected.length)).equals(expected)).toBe(true);
  wire.socket.ping();
  expect([...(await wire.bytes(2))]).toEqual([0x89, 0]);
  expect(wire.rest).toBe(0);
});

test('a payload above 64 KiB is written as it is, without a copy', async () => {
  const { pool, members: all } = await poolOf(2);
  const writes = all.map(({ socket }) => spyWrites(socket));
  const payload = Buffer.alloc(100_000, 7);
  void pool.broadcastMessage('default', 'before');
  void pool.broadcastMessage('default', payload);
  void pool.broadcastMessage('default', 'after');
  for (const { client } of all)
    expect((await client.exactly(3)).map(digest)).toEqual(['before', payload, 'after'].map(digest));
  for (const chunks of writes) {
    const large = chunks.filter(({ length }) => length === payload.length);
    expect(large.map(({ buffer }) => buffer === payload.buffer)).toEqual([true]);
  }
});

test('a payload above 64 KiB is written after its header, without an empty write after it', async () => {
  const {
    pool,
    members: [{ client, socket }],
  } = await poolOf(1);
  const writes = spyWrites(socket);
  await pool.broadcastMessage('default', Buffer.alloc(100_000));
  expect(writes.map(({ length }) => length)).toEqual([10, 100_000]);
  await client.exactly(1);
});
