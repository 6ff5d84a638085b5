import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { Connection } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

test('JSON.stringify of a connection shows its id and its namespace', () => {
  // It showed 4.5 KB of the socket's internals.
  const { connection } = connectInMemory('1', 'lobby');
  expect(JSON.stringify({ connection })).toBe('{"connection":{"id":"1","namespace":"lobby"}}');
});

test.each<[string | number | bigint, string]>([
  ['1', '"1"'],
  [1, '1'],
  [1n, '"1"'],
])('JSON.stringify can express the id %o', (id, shown) => {
  const connection = new Connection(id, 'lobby', new MemorySocket());
  expect(JSON.stringify(connection)).toBe(`{"id":${shown},"namespace":"lobby"}`);
});

test('inspecting a connection shows its state and its data, and not its socket', () => {
  const { connection } = connectInMemory('1', 'lobby');
  expect(inspect(connection)).toBe(
    "Connection { id: '1', namespace: 'lobby', closed: false, bufferedAmount: 0 }",
  );
  class Player extends Connection<string, string, MemorySocket, { score: number }> {}
  const player = new Player('2', 'game', new MemorySocket());
  player.data = { score: 3 };
  void player.close();
  expect(inspect(player, { breakLength: Infinity })).toBe(
    "Player { id: '2', namespace: 'game', closed: true, bufferedAmount: 0, data: { score: 3 } }",
  );
});
