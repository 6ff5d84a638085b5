import { expect } from 'vitest';
import type { ConnectionsPool } from '../../src/index.js';

/** The registry, its counters and the recipients of broadcasts agree, and nobody in it has closed. */
export async function expectConsistent(pool: ConnectionsPool, size: number): Promise<void> {
  const stats = pool.stats();
  expect(stats).toMatchObject({ connections: size, namespaces: pool.connections.size });
  let sum = 0;
  for (const [namespace, members] of pool.connections) {
    expect(members.size).toBeGreaterThan(0);
    sum += members.size;
    for (const [id, connection] of members) {
      expect(connection).toMatchObject({ id, namespace, closed: false });
    }
    const result = await pool.broadcastMessage(namespace, 'probe');
    expect(result).toEqual({
      recipients: members.size,
      sent: members.size,
      dropped: 0,
      failed: 0,
      conflated: 0,
    });
  }
  expect(sum).toBe(size);
}
