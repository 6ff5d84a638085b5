import { expect, test } from 'vitest';
import { connectInMemory } from './support/memory-socket.js';
import { anything, errorOf } from './support/refusals.js';

test('an error message repeats only the beginning of a long value', async () => {
  const { connection } = connectInMemory();
  const huge = 'x'.repeat(2 ** 20);
  const error = await errorOf(() => connection.close(anything(huge)));
  expect((error as Error).message.length).toBeLessThan(200);
});

test.each([
  [60, `got \`${'x'.repeat(60)}\` (string)`],
  [61, `got \`${'x'.repeat(60)}…\` (string)`],
])('an error message repeats at most 60 characters of %i', async (length, received) => {
  const { connection } = connectInMemory();
  const error = await errorOf(() => connection.close(anything('x'.repeat(length))));
  expect((error as Error).message).toContain(received);
});
