import { describe, expect, test, vi } from 'vitest';
import type { ServerOptions } from 'ws';
import { ConnectionsPool } from '../src/index.js';
import { member } from './support/engine.js';
import { expectCollected } from './support/garbage.js';
import { Loopback } from './support/loopback.js';
type End = 'closed' | 'terminated' | 'removed' | 'gone';

/** Uses a connection in every way, ends it, and keeps only a weak reference to it. */
async function useAndEnd(pool: ConnectionsPool, loopback: Loopback, end: End): Promise<WeakRef<object>[]> {
  const { client, socket, connection } = await member(pool, loopback, 'short-lived');
  connection.updateTimeout();
  void pool.broadcastMessage('default', 'all');
  void connection.send('private');
  void pool.broadcastMessage('default', 'x'.repeat(20_000), ['short-lived']);
  await client.exactly(2);
  // A message is on its way when the connection ends.
  void pool.broadcastMessage('default', 'x'.repeat(20_000));
  void connection.send('last');
  if (end === 'removed') await pool.removeConnection(connection);
  if (end === 'terminated') connection.terminate();
  if (end === 'gone') client.socket.terminate();
  else client.socket.close();
  if (end === 'closed') await connection.close();
  await client.closed;
  await vi.waitUntil(() => socket.readyState === socket.CLOSED);
  return [new WeakRef(connection), new WeakRef(socket)];
}

const modes: [string, ServerOptions][] = [
  ['plain', {}],
  ['compressed', { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } }],
];

describe.each(modes)('%s', (mode, options) => {
  test.each(['closed', 'terminated', 'removed', 'gone'] as const)(
    `a ${mode} connection that is %s is not retained`,
    async (end) => {
      const pool = new ConnectionsPool();
      const loopback = await Loopback.start(options);
      const { client } = await member(pool, loopback, 'stays');
      const refs = await useAndEnd(pool, loopback, end);
      expect(refs).toHaveLength(2);
      await expectCollected(refs);
      // The pool and its namespace are still in use.
      expect((await pool.broadcastMessage('default', 'end')).sent).toBe(1);
      expect((await client.exactly(4)).at(-1)).toBe('end');
    },
  );
});
