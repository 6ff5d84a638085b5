import { expect, test } from 'vitest';
import { endTurn, spyWrites } from '../support/engine.js';
import { poolOf } from '../support/pool-of.js';

const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };

test('a burst of more than 1 MiB does not wait for the end of the turn', async () => {
  const {
    pool,
    members: [{ client, socket }],
  } = await poolOf(1);
  const writes = spyWrites(socket);
  const text = 'x'.repeat(60_000);
  for (let i = 0; i < 17; i++) void pool.broadcastMessage('default', text);
  expect(writes).toHaveLength(0);
  void pool.broadcastMessage('default', text);
  expect(writes.length).toBeGreaterThan(0);
  expect(await client.exactly(18)).toEqual(Array.from({ length: 18 }, () => text));
});

test('flush() writes at once, and the end of the turn adds nothing', async () => {
  const {
    pool,
    members: [{ client, socket }],
  } = await poolOf(1);
  const writes = spyWrites(socket);
  const result = pool.broadcastMessage('default', '1');
  pool.flush();
  expect(writes).toHaveLength(1);
  expect(await result).toEqual(ONE_SENT);
  void pool.broadcastMessage('default', '2');
  expect(await client.exactly(2)).toEqual(['1', '2']);
});

test('the end of a turn writes nothing more when a burst has gone out before', async () => {
  const {
    pool,
    members: [{ client }],
  } = await poolOf(1);
  void pool.broadcastMessage('default', 'x'.repeat(1024 * 1024));
  const { writes } = pool.stats();
  expect(writes).toBe(1);
  await endTurn();
  expect(pool.stats().writes).toBe(1);
  await client.exactly(1);
});
