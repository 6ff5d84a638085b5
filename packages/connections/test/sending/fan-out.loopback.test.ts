import { beforeEach, describe, expect, test, vi } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import type { ServerOptions } from 'ws';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { endTurn, member, spyWrites, tcpOf, type Member } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';
import { poolOf } from '../support/pool-of.js';
import { connectMute } from '../support/raw-client.js';
import { isCompressed } from '../support/strict-reader.js';
import { WireClient } from '../support/wire.js';

const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const LARGE = 'compressible '.repeat(2_000);

interface Mode {
  readonly server: ServerOptions;
  readonly pool: ConnectionsPoolOptions;
}

const modes: Record<string, Mode> = {
  plain: { server: {}, pool: {} },
  'shared compression': { server: SHARED, pool: {} },
  'a shared history': {
    server: { perMessageDeflate: { threshold: 0 } },
    pool: { compression: { history: true } },
  },
};

const text = (serial: number): string => `message ${serial}, not the shortest one`;

beforeEach(stopClock);

test('ten broadcasts of a turn are one write of one buffer that all members share', async () => {
  const { pool, members: all } = await poolOf(3);
  const writes = all.map(({ socket }) => spyWrites(socket));
  const texts = Array.from({ length: 10 }, (_, i) => `message ${i}`);
  for (const text of texts) void pool.broadcastMessage('default', text);
  for (const { client } of all) expect(await client.exactly(10)).toEqual(texts);
  // The pong for `exactly` is the second write.
  expect(writes.map(([, ...others]) => others.length)).toEqual([1, 1, 1]);
  expect(writes[1]?.[0]).toBe(writes[0]?.[0]);
  expect(writes[2]?.[0]).toBe(writes[0]?.[0]);
  expect(pool.stats()).toMatchObject({ writes: 3, messagesSent: 30, broadcasts: 10 });
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

test('an excepted connection does not disturb the shared path of the others', async () => {
  const {
    pool,
    members: [a, b, c],
  } = await poolOf(3);
  const [ofA, ofB] = [spyWrites(a.socket), spyWrites(b.socket)];
  void pool.broadcastMessage('default', '1');
  const result = pool.broadcastMessage('default', '2', ['c', 'nobody', 'c']);
  void pool.broadcastMessage('default', '3');
  expect(await result).toEqual({ recipients: 2, sent: 2, dropped: 0, failed: 0, conflated: 0 });
  expect([ofA.length, ofB.length]).toEqual([1, 1]);
  expect(ofA[0]).toBe(ofB[0]);
  expect(await c.client.exactly(2)).toEqual(['1', '3']);
  expect(await a.client.exactly(3)).toEqual(['1', '2', '3']);
});

describe.each(Object.entries(modes))('with %s', (mode, { server, pool: options }) => {
  test.each([
    ['short messages', [text(1), text(2)]],
    ['short messages and a large one', [text(1), LARGE, text(2)]],
  ])(`%s are written to all members as the same buffers: ${mode}`, async (_title, texts) => {
    const { pool, members: all } = await poolOf(3, { pool: options, server: server });
    const writes = all.map(({ socket }) => spyWrites(socket));
    const results = texts.map((message) => pool.broadcastMessage('default', message));
    await Promise.all(results);
    // Finished messages do not wait for those that are still being compressed.
    const isCompressed = texts.includes(LARGE) && server.perMessageDeflate !== undefined;
    expect(writes[0]).toHaveLength(isCompressed ? 2 : 1);
    for (const others of writes.slice(1)) {
      expect(others).toHaveLength(writes[0]!.length);
      for (const [index, chunk] of others.entries()) expect(chunk).toBe(writes[0]![index]);
    }
    for (const { client } of all) expect(await client.exactly(texts.length)).toEqual(texts);
  });
});

test.each([
  ['plain', {}],
  ['shared compression', SHARED],
])('members that get a part of a turn share the memory of the whole (%s)', async (_, server) => {
  const {
    pool,
    loopback,
    members: [a, b],
  } = await poolOf(2, { server: server });
  const late = await loopback.connect('late');
  const [ofA, ofB, ofLate] = [a, b, late].map(({ socket }) => spyWrites(socket)) as [
    Buffer[],
    Buffer[],
    Buffer[],
  ];
  void pool.broadcastMessage('default', text(1), ['b']);
  void pool.newConnection(late.connection);
  void pool.broadcastMessage('default', text(2));
  void pool.broadcastMessage('default', text(3));
  await endTurn();
  expect([ofA, ofB, ofLate].map(({ length }) => length)).toEqual([1, 1, 1]);
  expect(ofB[0]?.buffer).toBe(ofA[0]?.buffer);
  expect(ofLate[0]?.buffer).toBe(ofA[0]?.buffer);
  expect(await a.client.exactly(3)).toEqual([text(1), text(2), text(3)]);
  for (const { client } of [b, late]) expect(await client.exactly(2)).toEqual([text(2), text(3)]);
});

test.each(Object.entries(modes).slice(1))(
  'nothing is compressed for members that have left (%s)',
  async (_, mode) => {
    const pool = new ConnectionsPool(mode.pool);
    const loopback = await Loopback.start(mode.server);
    const join = (id: string, serverMaxWindowBits: number): Promise<Member> =>
      member(pool, loopback, id, { perMessageDeflate: { serverMaxWindowBits } });
    const stays = await join('stays', 15);
    const leavers = [await join('same', 15), await join('10', 10), await join('12', 12)];
    // Longer than the smaller windows, so that each needs its own compression.
    const first = `${text(1)} ${LARGE}`;
    await pool.broadcastMessage('default', first);
    expect(pool.stats().compressions).toBe(3);
    for (const { connection } of leavers) await pool.removeConnection(connection);
    await pool.broadcastMessage('default', LARGE);
    expect(pool.stats().compressions).toBe(4);
    await pool.removeConnection(stays.connection);
    expect(await stays.client.exactly(2)).toEqual([first, LARGE]);
  },
);

test('a large message is compressed for the remaining members when one has left', async () => {
  const pool = new ConnectionsPool();
  const loopback = await Loopback.start(SHARED);
  const wire = await WireClient.connect(loopback, 'permessage-deflate; server_no_context_takeover');
  await pool.newConnection(new Connection('stays', 'default', wire.socket));
  const { connection } = await member(pool, loopback, 'leaves');
  await pool.removeConnection(connection);
  await pool.broadcastMessage('default', LARGE);
  expect(isCompressed(await wire.frame())).toBe(true);
});

test('a write that throws fails for that member alone, which emits the error', async () => {
  const {
    pool,
    members: [a, b],
  } = await poolOf(2);
  const errors: string[] = [];
  a.connection.on('error', ({ message }) => errors.push(message));
  vi.spyOn(tcpOf(a.socket), 'write').mockImplementation(() => {
    throw new Error('broken');
  });
  const results = [pool.broadcastMessage('default', '1'), pool.broadcastMessage('default', '2')];
  const expected = { recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 };
  expect(await Promise.all(results)).toEqual([expected, expected]);
  expect(await b.client.exactly(2)).toEqual(['1', '2']);
  expect(errors).toEqual(['broken']);
  expect(pool.stats().errors).toBe(1);
});

test('a copy for a connection that its peer is closing has failed, and it counts as closing when we close it', async () => {
  const { client, socket } = await connectMute(await Loopback.start());
  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  // It keeps TCP open after the closing handshake.
  client.allowHalfOpen = true;
  const closeFrame = Buffer.from([0x88, 0x80, 0, 0, 0, 0]);
  client.write(closeFrame);
  await expect.poll(() => connection.closed).toBe(true);
  expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 1, failed: 1 });
  expect(pool.stats().closing).toBe(0);
  void connection.close();
  expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 0 });
  expect(pool.stats().closing).toBe(1);
  connection.terminate();
});
