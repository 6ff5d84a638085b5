import { expect } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { connectInMemory } from './memory-socket.js';
import { watchUnhandled } from './unhandled.js';

/** The two ways in which a listener can fail. */
export const failures: readonly [title: string, fail: () => unknown][] = [
  [
    'throws',
    () => {
      throw new Error('listener failed');
    },
  ],
  ['rejects', () => Promise.reject(new Error('listener failed'))],
];

/** Something fails with 'listener failed', and the rest of the pool is not affected. */
export async function expectContained(
  run: (pool: ConnectionsPool, errors: string[]) => Promise<void>,
): Promise<void> {
  const { reasons, settle } = watchUnhandled();
  const pool = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
  const errors: string[] = [];
  const bystander = connectInMemory('bystander', 'elsewhere');
  await pool.newConnection(bystander.connection);
  pool.on('error', ({ message }) => errors.push(message));
  await run(pool, errors);
  await settle();
  expect(reasons).toEqual([]);
  expect(errors).toContain('listener failed');
  await expect(pool.broadcastMessage('elsewhere', 'x')).resolves.toMatchObject({ sent: 1 });
  expect(bystander.socket.sent).toEqual(['x']);
}
