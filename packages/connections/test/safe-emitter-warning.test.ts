import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { connectInMemory } from './support/memory-socket.js';
import { onTestFinished } from './support/on-test-finished.js';

/** The warnings of the process from now on. */
function watchWarnings(): Error[] {
  const warnings: Error[] = [];
  const collect = (warning: Error): void => void warnings.push(warning);
  process.on('warning', collect);
  onTestFinished(() => void process.off('warning', collect));
  return warnings;
}

/** A member whose message listener has a bug, and which gets a message. */
async function joinBroken(pool: ConnectionsPool, id: string) {
  const { connection, socket } = connectInMemory(id);
  await pool.newConnection(connection);
  connection.on('message', () => {
    throw new ReferenceError(`usre is not defined (${id})`);
  });
  return { connection, cause: () => socket.emit('message', Buffer.from('x'), false) };
}

// A typing error in a `message` handler printed nothing at all unless somebody listened to `error`, and cost ten minutes.
test('the first error that nobody listens for is one process warning per pool', async () => {
  const warnings = watchWarnings();
  const pool = new ConnectionsPool();
  const { cause } = await joinBroken(pool, 'one');
  for (let i = 0; i < 5; i++) cause();
  await nextTurn();
  expect(warnings.map(({ name, message }) => [name, message])).toEqual([
    ['ConnectionsPoolWarning', expect.stringContaining('usre is not defined (one)')],
  ]);
  expect((warnings[0] as Error & { detail?: string }).detail).toContain('safe-emitter-warning.test');
  expect(pool.stats().errors).toBe(5);

  const another = await joinBroken(new ConnectionsPool(), 'two');
  another.cause();
  await nextTurn();
  expect(warnings).toHaveLength(2);
});

test('an error that the pool or the connection has a listener for is no process warning', async () => {
  const warnings = watchWarnings();
  const pool = new ConnectionsPool();
  const errors: string[] = [];
  const { connection, cause } = await joinBroken(pool, 'one');
  connection.on('error', ({ message }) => errors.push(message));
  cause();
  connection.removeAllListeners('error');
  pool.on('error', ({ message }) => errors.push(message));
  cause();
  await nextTurn();
  expect(errors).toHaveLength(2);
  expect(warnings).toEqual([]);
});
