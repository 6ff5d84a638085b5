import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Connection } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { watchUnhandled, withhold } from './support/unhandled.js';

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
  ])('JSON.stringify() of a connection with the id %o works', (id, json) => {
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

  test('util.inspect() of a connection shows the name of a subclass, its state and its data, but not its socket', () => {
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
});

// The throw left before anybody had looked at the promise of the send, whose rejection was unhandled.
test('sendThenClose() rejects once when an overridden send rejects and an overridden close throws', async () => {
  class Failing extends Connection {
    override async send(): Promise<boolean> {
      await Promise.resolve();
      throw new Error('send failed');
    }

    override close(): Promise<void> {
      throw new Error('close failed');
    }
  }
  withhold('unhandledRejection');
  const { settle } = watchUnhandled();
  const connection = new Failing('1', 'default', new MemorySocket());
  await expect(connection.sendThenClose('x')).rejects.toThrow('send failed');
  expect(await settle()).toEqual([]);
});
