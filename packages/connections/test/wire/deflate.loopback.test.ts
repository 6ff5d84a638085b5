import { randomBytes } from 'node:crypto';
import * as zlib from 'node:zlib';
import { beforeEach, expect, test } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { member } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { Random } from '../support/random.js';
import { isCompressed } from '../support/strict-reader.js';
import { WireClient } from '../support/wire.js';
import { spyOnZlib } from '../support/zlib-spies.js';

let deflateRaw: ReturnType<typeof spyOnZlib>;
let deflateRawSync: ReturnType<typeof spyOnZlib>;

beforeEach(() => {
  deflateRaw = spyOnZlib('deflateRaw');
  deflateRawSync = spyOnZlib('deflateRawSync');
});

const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const OFFER = 'permessage-deflate; server_no_context_takeover';

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

beforeEach(stopClock);

test('a compressed payload ends without the trailer of its last block, and inflates with it', async () => {
  const perMessageDeflate = { serverNoContextTakeover: true, threshold: 0 };
  const offer = 'permessage-deflate; server_max_window_bits=10';
  const wire = await WireClient.connect(await Loopback.start({ perMessageDeflate }), offer);
  const text = 'compressible '.repeat(500);
  void new Connection('1', 'default', wire.socket).send(text);
  const { firstByte, payload } = await wire.frame();
  const trailer = Buffer.from([0, 0, 0xff, 0xff]);
  expect(firstByte).toBe(0xc1);
  expect(payload.subarray(-4).equals(trailer)).toBe(false);
  const inflated = zlib.inflateRawSync(Buffer.concat([payload, trailer]), {
    windowBits: 10,
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
  });
  expect(inflated.toString()).toBe(text);
});

/** Two clients for every window size that they can ask for. */
const ALL_SIZES = [9, 10, 11, 12, 13, 14, 15, 9, 10, 11, 12, 13, 14, 15];

// Each client that asked for another size cost one more compression of every broadcast on the event loop: with 14 sizes
// four times the time.
test.each([
  ['a message that fits every window is compressed once', 200, 1, 0],
  ['a message of 5 KB is compressed three times', 5_000, 3, 0],
  ['a message that the thread pool compresses is compressed three times', 50_000, 0, 3],
] as const)('%s for all window sizes together', async (_, length, sync, pooled) => {
  const pool = new ConnectionsPool();
  const loopback = await Loopback.start(SHARED);
  const clients = [];
  for (const [i, serverMaxWindowBits] of ALL_SIZES.entries()) {
    const perMessageDeflate = { serverMaxWindowBits };
    clients.push((await member(pool, loopback, String(i), { perMessageDeflate })).client);
  }
  const text = new Random(1).bytes(length, true).toString();
  await pool.broadcastMessage('default', text);
  for (const client of clients) expect(await client.next()).toBe(text);
  expect(deflateRawSync).toHaveBeenCalledTimes(sync);
  expect(deflateRaw).toHaveBeenCalledTimes(pooled);
  expect(pool.stats().compressions).toBe(sync + pooled);
});

// zlib uses 9 bits for 8 in raw streams: more than the window of the peer.
test('a client with a window of 256 bytes gets its messages uncompressed', async () => {
  const pool = new ConnectionsPool();
  const options = { perMessageDeflate: { serverMaxWindowBits: 8 } };
  const { client, connection } = await member(pool, await Loopback.start(SHARED), '1', options);
  const texts = ['compressible '.repeat(400), 'compressible '.repeat(4_000)];
  for (const text of texts) void pool.broadcastMessage('default', text);
  for (const text of texts) void connection.send(text);
  expect(await client.exactly(4)).toEqual([...texts, ...texts]);
  expect(deflateRawSync).not.toHaveBeenCalled();
  expect(deflateRaw).not.toHaveBeenCalled();
});

test('compression uses the level and the memory that the server was told to use', async () => {
  await frames(await agreed({ threshold: 0, zlibDeflateOptions: { level: 1, memLevel: 2 } }), [
    'x'.repeat(99),
  ]);
  expect(deflateRawSync.mock.lastCall?.[1]).toMatchObject({ level: 1, memLevel: 2 });
  await frames(await agreed({ threshold: 0 }), ['x'.repeat(99)]);
  const options = deflateRawSync.mock.lastCall?.[1];
  expect(Object.keys(options ?? {}).toSorted()).toEqual(['finishFlush', 'windowBits']);
});

test('compression begins at the threshold that the server was told', async () => {
  const texts = [99, 100, 0, 5_000].map((length) => 'x'.repeat(length));
  expect(await frames(await agreed({ threshold: 100 }), texts)).toEqual([false, true, false, true]);
  expect(await frames(await agreed({ threshold: 0 }), texts)).toEqual([true, true, false, true]);
});

test('a message that compression would make longer is sent plain', async () => {
  const noise = [1_000, 100_000].map((length) => randomBytes(length));
  expect(await frames(await agreed({ threshold: 0 }), noise)).toEqual([false, false]);
});
