import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, expect, test, vi } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { endTurn, member, spyWrites } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { isCompressed } from '../support/strict-reader.js';
import { WireClient } from '../support/wire.js';
import { holdDeflate, spyOnZlib } from '../support/zlib-spies.js';

const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const OFFER = 'permessage-deflate; server_no_context_takeover';
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };

beforeEach(stopClock);

// Once the turn had ended, flush() missed a broadcast that was being compressed.
test('flush() writes a broadcast of an earlier turn that is being compressed', async () => {
  const { release } = holdDeflate();
  const {
    pool,
    members: [{ client, socket }],
  } = await poolOf(1, { server: SHARED });
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

test('a large compressed message keeps its place before small ones, private ones and a close', async () => {
  const deflateRaw = spyOnZlib('deflateRaw');
  const {
    pool,
    members: [a, b],
  } = await poolOf(2, { server: SHARED });
  const large = 'compressible '.repeat(20_000);
  void pool.broadcastMessage('default', large);
  void a.connection.send('private');
  await nextTurn();
  void pool.broadcastMessage('default', 'small');
  void b.connection.sendThenClose('bye', 4001);
  expect((await b.client.closed).code).toBe(4001);
  expect(b.client.inbox).toEqual([large, 'small', 'bye']);
  expect(await a.client.exactly(3)).toEqual([large, 'private', 'small']);
  expect(deflateRaw).toHaveBeenCalledTimes(1);
});

test('a message that is being compressed is counted for members that leave meanwhile', async () => {
  const { release } = holdDeflate();
  const {
    pool,
    members: [a, b],
  } = await poolOf(2, { server: SHARED });
  const result = pool.broadcastMessage('default', 'x'.repeat(20_000));
  b.socket.terminate();
  await b.client.closed;
  expect(pool.stats().connections).toBe(1);
  release();
  expect(await result).toEqual({ recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 });
  expect(await a.client.exactly(1)).toEqual(['x'.repeat(20_000)]);
});

// A member that needed its messages early shared its uncompressed slice of the log with everybody.
test('a message is compressed for the others when one member closes while the compression runs', async () => {
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

test('a burst waits for the compression before it, but not past 16 MiB', async () => {
  holdDeflate();
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

test('a large message goes out plain when zlib fails', async () => {
  const pool = new ConnectionsPool();
  const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
  await pool.newConnection(new Connection('1', 'default', wire.socket));
  spyOnZlib('deflateRaw').mockImplementationOnce((_payload, _options, callback) => {
    setImmediate(callback, new Error('out of memory'), Buffer.alloc(0));
  });
  expect(await pool.broadcastMessage('default', 'x'.repeat(20_000))).toEqual(ONE_SENT);
  const frame = await wire.frame();
  expect([isCompressed(frame), frame.payload.length]).toEqual([false, 20_000]);
  expect(pool.stats()).toMatchObject({ compressions: 0, compressedMessages: 0 });
});

/** Advances the clock of the library. */
function pass(ms: number): void {
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + ms);
}

// A namespace waited until no compression was running. With a steady stream of large messages that never happened:
// small messages were seconds late, and in the end everybody was closed as a slow reader.
test('messages that are ready leave at the end of the turn while later ones are being compressed', async () => {
  const { release } = holdDeflate();
  const pool = new ConnectionsPool();
  const wire = await WireClient.connect(await Loopback.start(SHARED), OFFER);
  const connection = new Connection('1', 'default', wire.socket);
  await pool.newConnection(connection);
  const first = pool.broadcastMessage('default', 'first');
  void pool.broadcastMessage('default', 'x'.repeat(20_000));
  const last = pool.broadcastMessage('default', 'last');
  expect(await first).toEqual(ONE_SENT);
  expect((await wire.frame()).payload.toString()).toBe('first');
  let isLastSent = false;
  void last.then(() => (isLastSent = true));
  await endTurn();
  // The order is kept.
  expect([isLastSent, wire.rest]).toEqual([false, 0]);
  release();
  expect(await last).toEqual(ONE_SENT);
  expect(isCompressed(await wire.frame())).toBe(true);
  expect((await wire.frame()).payload.toString()).toBe('last');
});

test('a message goes out plain when its compression takes more than 50 ms, and closes nobody', async () => {
  holdDeflate();
  const { pool, members: all } = await poolOf(2, { server: SHARED });
  const texts = Array.from({ length: 6 }, (_, index) => `${index} `.repeat(index % 2 === 0 ? 10_000 : 10));
  const results = [];
  for (const text of texts) {
    results.push(pool.broadcastMessage('default', text));
    await endTurn();
  }
  const writes = all.map(({ socket }) => spyWrites(socket));
  expect(pool.stats().messagesSent).toBe(0);
  pass(51);
  // A real timer ends the wait.
  for (const result of results)
    expect(await result).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0, conflated: 0 });
  for (const { client } of all) expect(await client.exactly(6)).toEqual(texts);
  expect(writes[0]!.length).toBeGreaterThan(0);
  expect(pool.stats()).toMatchObject({ connections: 2, slowReaders: 0, compressions: 3 });
});

test('messages that wait for their compression never fill more than a quarter of the bound', async () => {
  const { release } = holdDeflate();
  const {
    pool,
    members: [{ client, socket }],
  } = await poolOf(1, { server: SHARED, pool: { maxBufferedBytes: 400_000 } });
  const writes = spyWrites(socket);
  const texts = Array.from({ length: 40 }, (_, index) => `${index} `.padEnd(20_000, 'x'));
  const results = texts.map((text) => pool.broadcastMessage('default', text));
  expect(writes.length).toBeGreaterThan(0);
  for (const result of results.slice(0, 40 - 5)) expect(await result).toEqual(ONE_SENT);
  release();
  for (const result of results) expect(await result).toEqual(ONE_SENT);
  expect(await client.exactly(40)).toEqual(texts);
  expect(pool.stats()).toMatchObject({ connections: 1, slowReaders: 0, dropped: 0 });
});
