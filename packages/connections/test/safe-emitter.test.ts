import { describe, expect, test } from 'vitest';
import { ConnectionsPool, type Connection, type PoolEvents } from '../src/index.js';
import { expectContained, failures } from './support/failing-listeners.js';
import { connectInMemory } from './support/memory-socket.js';
import { slowMember } from './support/slow-member.js';
import { watchUnhandled } from './support/unhandled.js';

describe.each(failures)('a pool listener that %s', (_title, fail) => {
  const poolEvents: readonly [
    keyof PoolEvents<Connection>,
    (pool: ConnectionsPool, connection: Connection) => Promise<unknown>,
  ][] = [
    ['connection', (pool) => pool.newConnection(connectInMemory('2').connection)],
    ['disconnection', (pool, connection) => pool.removeConnection(connection)],
    ['emptyNamespace', (pool, connection) => pool.removeConnection(connection)],
    ['slow', (pool) => slowMember(pool).connection.send('x')],
  ];

  test.each(poolEvents)('a failing listener of %s is an error event of its pool', async (event, cause) => {
    await expectContained(async (pool) => {
      const { connection } = connectInMemory();
      await pool.newConnection(connection);
      pool.on(event, fail);
      await cause(pool, connection);
    });
  });

  test('a failing listener of drain does not affect the drain', async () => {
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool();
    await pool.newConnection(connectInMemory().connection);
    pool.on('drain', fail);
    await expect(pool.drainConnections(10)).resolves.toMatchObject({ closed: 1 });
    await settle();
    expect(reasons).toEqual([]);
  });

  test('a failing error listener of a pool is counted, and nobody gets its error', async () => {
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool();
    const { connection, socket } = connectInMemory();
    await pool.newConnection(connection);
    let calls = 0;
    pool.on('error', () => {
      if (++calls < 100) return fail() as undefined;
      return undefined;
    });
    socket.emit('error', new Error('socket failed'));
    await settle();
    expect(calls).toBe(1);
    expect(pool.stats().errors).toBe(2);
    expect(reasons).toEqual([]);
    await expect(connection.send('x')).resolves.toBe(true);
  });
});
