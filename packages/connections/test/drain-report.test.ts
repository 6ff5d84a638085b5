import { expect, test } from 'vitest';
import { poolInMemory } from './support/pool-of.js';

test('JSON.stringify() of a drain report shows its namespaces', async () => {
  const { pool } = poolInMemory(1);
  const report = await pool.drainConnections(10);
  expect(JSON.parse(JSON.stringify(report))).toMatchObject({
    namespaces: { default: { closed: 1, terminated: 0, left: 0 } },
  });
});
