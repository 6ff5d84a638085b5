import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { FakeWsSocket } from '../support/fake-ws-socket.js';
import { slowClock } from '../support/slow-clock.js';

const textsIn = ({ _socket: { bytes } }: FakeWsSocket): string[] => {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes[at + 1]!)
    texts.push(bytes.toString('latin1', at + 2, at + 2 + bytes[at + 1]!));
  return texts;
};

/** A pool whose flushes stop after the first members, as each write takes 1 ms. */
function interruptedPool() {
  const clock = slowClock();
  const pool = new ConnectionsPool({ maxFlushMs: 2 });
  const join = async (id: string, ...rooms: string[]): Promise<FakeWsSocket> => {
    const socket = new FakeWsSocket();
    socket._socket.onWrite = () => clock.pass(1);
    const connection = new Connection(id, 'default', socket);
    connection.join(rooms);
    await pool.newConnection(connection);
    return socket;
  };
  return { pool, join };
}

test('what is sent to a room while an earlier message is still being written reaches all of its members', async () => {
  const { pool, join } = interruptedPool();
  const sockets: FakeWsSocket[] = [];
  for (let i = 0; i < 60; i++) sockets.push(await join(`${i}`, 'red'));
  const broadcast = (text: string) => pool.broadcastMessage('default', text, { rooms: 'red' });
  const results = [broadcast('1')];
  await endTurn();
  const reached = sockets.filter((socket) => textsIn(socket).length === 1);
  expect(reached.length).toBeGreaterThan(0);
  expect(reached.length).toBeLessThan(sockets.length);
  results.push(broadcast('2'));
  // The first member has been written to, the last one has not.
  const privates = ['0', '59'].map((id) => pool.send('default', id, 'private'));
  const all = { recipients: 60, sent: 60, dropped: 0, failed: 0, conflated: 0 };
  expect(await Promise.all(results)).toEqual([all, all]);
  expect(await Promise.all(privates)).toEqual([true, true]);
  for (const [i, socket] of sockets.entries())
    expect(textsIn(socket)).toEqual(i === 0 || i === 59 ? ['1', '2', 'private'] : ['1', '2']);
});

test('a member that gets nothing of what is being written is not written to', async () => {
  const { pool, join } = interruptedPool();
  for (let i = 0; i < 40; i++) await join(`${i}`, 'red');
  const blue = await join('blue', 'blue');
  const first = pool.broadcastMessage('default', '1', { rooms: 'red' });
  await endTurn();
  const second = pool.broadcastMessage('default', '2', { rooms: 'blue' });
  expect(await Promise.all([first, second])).toMatchObject([{ sent: 40 }, { sent: 1 }]);
  expect(textsIn(blue)).toEqual(['2']);
  expect(pool.stats().writes).toBe(40 + 1);
});

test('a private message comes after a broadcast that waits until an earlier one, not for this member, is written', async () => {
  const { pool, join } = interruptedPool();
  const sockets: FakeWsSocket[] = [];
  for (let i = 0; i < 60; i++) sockets.push(await join(`${i}`));
  const results = [pool.broadcastMessage('default', '1', ['0', '59'])];
  await endTurn();
  results.push(pool.broadcastMessage('default', '2'));
  const privates = ['0', '59'].map((id) => pool.send('default', id, 'private'));
  expect(await Promise.all(results)).toMatchObject([{ sent: 58 }, { sent: 60 }]);
  expect(await Promise.all(privates)).toEqual([true, true]);
  for (const id of [0, 59]) expect(textsIn(sockets[id]!)).toEqual(['2', 'private']);
});
