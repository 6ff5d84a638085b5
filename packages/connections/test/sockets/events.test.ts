import { expect, test, vi } from 'vitest';
import { Connection } from '../../src/index.js';
import { connectInMemory } from '../support/memory-socket.js';
import { record } from '../support/record.js';

// A closure per listener and connection would cost more than the rest of the connection.
test('all sockets share the same listener functions', () => {
  const [one, two] = [connectInMemory('1'), connectInMemory('2')];
  for (const event of ['message', 'close', 'error', 'ping', 'pong']) {
    expect(one.socket.listeners(event)).toHaveLength(1);
    expect(one.socket.listeners(event)).toEqual(two.socket.listeners(event));
  }
});
