import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, expect, test, vi } from 'vitest';
import { stopClock } from '../support/stop-clock.js';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { tcpOf } from '../support/engine.js';
import { expectMessages, last, Room } from '../support/history-room.js';
import { record, records } from '../support/records.js';

/** The records of the first and the last of four pools, which take turns with five records each. */
function veteranRecords(count: number): string[] {
  return records(count).filter((_, serial) => [0, 3].includes(Math.floor(serial / 5) % 4));
}

beforeEach(stopClock);

// If it counted as received, the next broadcast would refer to it.
test('a message that was compressed but not written for a slow reader is not referred to', async () => {
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

test('a message that was compressed for a connection that left meanwhile is not referred to when it is back', async () => {
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

test('a connection that closes during a compression does not disturb the others', async () => {
  const room = await Room.open();
  const [a, b] = [await room.member('a'), await room.member('b')];
  const large = records(300).join();
  const result = room.pool.broadcastMessage('default', large);
  b.socket.terminate();
  expect(await result).toEqual({ recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 });
  const again = await room.member('b');
  for (const text of records(5)) await room.broadcast(text);
  await expectMessages(a, [large, ...records(5)]);
  await expectMessages(again, records(5));
});

// The plain bytes for a member that could not wait were kept for everybody.
test('a message that a closing connection got plain is compressed for the others', async () => {
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

test('a message that flush() sent uncompressed is not referred to', async () => {
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

test('a history ends with its namespace', async () => {
  const room = await Room.open();
  const a = await room.member('a');
  for (const text of records(20)) await room.broadcast(text);
  await room.pool.removeConnection(a.connection);
  expect(room.pool.hasNamespace('default')).toBe(false);
  await room.pool.newConnection(a.connection);
  const { compressions } = room.pool.stats();
  // A large message is compressed for members in step at once, and again for a newcomer, unless there is no history.
  const large = records(200).join();
  await room.broadcast(large);
  expect(room.pool.stats().compressions - compressions).toBe(1);
  await room.broadcast(record(1));
  await expectMessages(a, [...records(20), large, record(1)]);
  const reaches = a.client.tapped.map(({ reachBytes }) => reachBytes);
  expect(reaches.at(-2)).toBe(0);
  expect(reaches.at(-1)).toBeGreaterThan(0);
});

test('a history is not shared with other namespaces', async () => {
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

test('the histories of two namespaces can be followed by two connections over one socket', async () => {
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

test('a connection may leave a history for a pool without one, or with another one', async () => {
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
    // From now on, what `ws` itself compresses refers to nothing.
    expect(reachBytes > 0).toBe(index % 4 !== 1);
    await pool.removeConnection(a.connection);
  }
  await expectMessages(a, records(serial));
  await expectMessages(veteran, veteranRecords(serial));
});

test('a new connection over the socket of an old one may follow the history', async () => {
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
