import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

// `JSON.stringify(connection)` in a log line was 4.5 KB of socket internals, and `console.log(pool)` showed nothing useful.
describe('what logs show', () => {
  test('JSON.stringify() of a connection shows its id and namespace', () => {
    const { connection } = connectInMemory('alice', 'room');
    connection.data = { secret: true };
    expect(JSON.stringify({ connection })).toBe('{"connection":{"id":"alice","namespace":"room"}}');
  });

  test.each([
    [7, '{"id":7,"namespace":"room"}'],
    [7n, '{"id":"7","namespace":"room"}'],
    ['7', '{"id":"7","namespace":"room"}'],
  ])('JSON.stringify() of a connection with id %s works', (id, json) => {
    expect(JSON.stringify(new Connection(id, 'room', new MemorySocket()))).toBe(json);
  });

  test('util.inspect() of a connection shows its state and its data', () => {
    const { connection, socket } = connectInMemory('alice', 'room');
    socket.bufferedAmount = 12;
    expect(inspect(connection)).toBe(
      "Connection { id: 'alice', namespace: 'room', closed: false, bufferedAmount: 12 }",
    );
    connection.data = { admin: true };
    expect(inspect(connection)).toContain('data: { admin: true }');
    expect(inspect({ nested: { connection } }, { depth: 0 }).length).toBeLessThan(100);
  });

  test('util.inspect() shows the name of a subclass', () => {
    class Player extends Connection {}
    expect(inspect(new Player('1', 'room', new MemorySocket()))).toMatch(/^Player \{ id: '1'/);
  });

  test('util.inspect() of a pool shows how many connections each namespace has', async () => {
    const pool = new ConnectionsPool();
    for (const [id, namespace] of ['1a', '2a', '3b'] as unknown as [string, string][])
      await pool.newConnection(connectInMemory(id, namespace).connection);
    expect(inspect(pool)).toBe(
      "ConnectionsPool {\n  draining: false,\n  connections: 3,\n  namespaces: Map(2) { 'a' => 2, 'b' => 1 }\n}",
    );
  });

  test('JSON.stringify() of a drain report shows its namespaces', async () => {
    const pool = new ConnectionsPool();
    await pool.newConnection(connectInMemory('1', 'room').connection);
    const report = await pool.drainConnections(10);
    expect(JSON.parse(JSON.stringify(report))).toMatchObject({
      namespaces: { room: { closed: 1, terminated: 0, left: 0 } },
    });
  });
});
