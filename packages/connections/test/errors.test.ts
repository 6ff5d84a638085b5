import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
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

// An object whose `Symbol.toStringTag` throws was thrown by a listener, and describing it ended the process.
test('a thrown object that cannot be described is an error event like any other', async () => {
  const hostile = Object.defineProperty({}, Symbol.toStringTag, {
    get: () => {
      throw new Error('no tag');
    },
  });
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  const errors: Error[] = [];
  pool.on('error', (error) => errors.push(error));
  connection.on('message', () => {
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- that is the point
    throw hostile;
  });
  expect(() => socket.emit('message', Buffer.from('x'), false)).not.toThrow();
  socket.emit('error', hostile);
  const message = 'Something that is not an Error was thrown: Object';
  expect(errors.map((error) => error.message)).toEqual([message, message]);
  for (const { cause } of errors) expect(cause).toBe(hostile);
  expect(((await errorOf(() => connection.send(anything(hostile)))) as Error).message).toContain(
    'got `Object`',
  );
});
