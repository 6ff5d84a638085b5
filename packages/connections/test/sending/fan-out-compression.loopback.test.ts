import { setImmediate as nextTurn } from 'node:timers/promises';
import * as zlib from 'node:zlib';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { endTurn, member, spyWrites } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { isCompressed, WireClient } from '../support/wire.js';

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

beforeEach(stopClock);

// Once the turn had ended, flush() did not know of a broadcast that was being compressed.
test('flush() writes a broadcast of an earlier turn that is being compressed', async () => {
  isHolding = true;
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
  expect(zlib.deflateRaw).toHaveBeenCalledTimes(1);
});

test('a message that is being compressed is counted for members that go meanwhile', async () => {
  isHolding = true;
  const {
    pool,
    members: [a, b],
  } = await poolOf(2, { server: SHARED });
  const result = pool.broadcastMessage('default', 'x'.repeat(20_000));
  b.socket.terminate();
  await b.client.closed;
  expect(pool.stats().connections).toBe(1);
  release();
  expect(await result).toEqual({ recipients: 2, sent: 1, dropped: 0, failed: 1 });
  expect(await a.client.exactly(1)).toEqual(['x'.repeat(20_000)]);
});

// A member that had to have its messages early shared its uncompressed slice of the log with everybody.
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

test('a large message goes out plain when zlib fails', async () => {
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
