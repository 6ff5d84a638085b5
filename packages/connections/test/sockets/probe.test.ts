import { expect, test } from 'vitest';
import { connectInMemory } from '../support/memory-socket.js';

test('sockets with the same capabilities share one object for them', () => {
  const [one, two] = [connectInMemory('1'), connectInMemory('2')];
  expect(one.connection.capabilities).toBe(two.connection.capabilities);
});
