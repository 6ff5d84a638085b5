import { expect, test } from 'vitest';
import { Connection } from '../../src/index.js';
import { connectInMemory } from '../support/memory-socket.js';

test('sockets with the same capabilities share one object for them', () => {
  const [one, two] = [connectInMemory('1'), connectInMemory('2')];
  expect(one.connection.capabilities).toBe(two.connection.capabilities);
});

// Every socket without events was taken for one of Bun, whose 0 means that the message was dropped.
test('a message was sent when the send of a plain object without events returns 0', async () => {
  const connection = new Connection('1', 'default', { send: () => 0, close: () => undefined });
  expect(await connection.send('x')).toBe(true);
});
