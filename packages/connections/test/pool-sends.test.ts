import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { MemorySocket } from './support/memory-socket.js';

/** Whether the promise has settled by now, without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const state = { isSettled: false };
  const settle = (): void => void (state.isSettled = true);
  promise.then(settle, settle);
  return state;
}

test('pool.send resolves with the outcome of the send, when the handler has answered', async () => {
  // The original returned before the handler had run, and told nothing of its outcome.
  const pool = new ConnectionsPool();
  const pending: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const connection = new Connection('1', 'default', new MemorySocket(), {
    send: () => new Promise((resolve, reject) => pending.push({ resolve, reject })),
    close: () => undefined,
  });
  const errors: Error[] = [];
  connection.on('error', (error) => errors.push(error));
  await pool.newConnection(connection);

  const accepted = pool.send('default', '1', 'one');
  const refused = pool.send('default', '1', 'two');
  const failed = pool.send('default', '1', 'three');
  const state = watch(accepted);
  await new Promise((resolve) => setImmediate(resolve));
  expect(state.isSettled).toBe(false);
  pending[0]!.resolve(undefined);
  pending[1]!.resolve(false);
  pending[2]!.reject(new Error('no route'));
  await expect(accepted).resolves.toBe(true);
  await expect(refused).resolves.toBe(false);
  await expect(failed).resolves.toBe(false);
  expect(errors).toEqual([new Error('no route')]);

  await expect(pool.send('default', 'nobody', 'x')).resolves.toBe(false);
});
