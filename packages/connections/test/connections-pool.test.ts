import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { connectInMemory } from './support/memory-socket.js';

test('exceptions are read once and not searched for each recipient', async () => {
  // The original called `exceptions.includes(id)` for each recipient: 10,000 members with 1,000 exceptions were ten
  // million comparisons.
  const pool = new ConnectionsPool();
  const pairs = Array.from({ length: 40 }, (_, n) => connectInMemory(`${n}`));
  for (const { connection } of pairs) await pool.newConnection(connection);
  const ids = pairs.slice(0, 20).map(({ connection }) => connection.id);
  let reads = 0;
  const exceptions = new Proxy(ids, {
    get(target, key, receiver): unknown {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
      return Reflect.get(target, key, receiver);
    },
  });

  const broadcasts = [
    () => pool.broadcastMessage('default', 'x', exceptions),
    () => pool.broadcastJsonMessage('default', 'x', exceptions),
    () => pool.broadcastError('default', 'x', undefined, undefined, exceptions),
  ];
  for (const broadcast of broadcasts) {
    reads = 0;
    await expect(broadcast()).resolves.toMatchObject({ recipients: 20, sent: 20 });
    expect(reads).toBe(20);
  }
  expect(pairs.map(({ socket }) => socket.sent.length)).toEqual([
    ...Array<number>(20).fill(0),
    ...Array<number>(20).fill(3),
  ]);
});
