import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { connectInMemory } from './support/memory-socket.js';

test('broadcastError with a code closes its recipients without a reason, and no exception', async () => {
  const pool = new ConnectionsPool();
  const [one, spared] = [connectInMemory('1'), connectInMemory('2')];
  for (const { connection } of [one, spared]) await pool.newConnection(connection);
  expect(await pool.broadcastError('default', 'fatal', 4000, undefined, ['2'])).toMatchObject({ sent: 1 });
  expect([one, spared].map(({ socket }) => socket.sent)).toEqual([['fatal'], []]);
  expect([one, spared].map(({ socket }) => socket.closes)).toEqual([[{ code: 4000, reason: '' }], []]);
  expect(spared.connection.closed).toBe(false);
});
