import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Connection, ConnectionsPool, type PoolEvents } from '../src/index.js';
import { expectContained, failures } from './support/failing-listeners.js';
import { connectInMemory } from './support/memory-socket.js';
import { onTestFinished } from './support/on-test-finished.js';
import { slowMember } from './support/slow-member.js';
import { watchUnhandled } from './support/unhandled.js';

describe.each(failures)('a pool listener that %s', (how, fail) => {
  const poolEvents: readonly [
    keyof PoolEvents<Connection>,
    (pool: ConnectionsPool, connection: Connection) => Promise<unknown>,
  ][] = [
    ['connection', (pool) => pool.newConnection(connectInMemory('2').connection)],
    ['disconnection', (pool, connection) => pool.removeConnection(connection)],
    ['emptyNamespace', (pool, connection) => pool.removeConnection(connection)],
    ['slow', (pool) => slowMember(pool).connection.send('x')],
  ];

  test.each(poolEvents)(
    `a listener of %s that ${how} is an error event of its pool`,
    async (event, cause) => {
      await expectContained(async (pool) => {
        const { connection } = connectInMemory();
        await pool.newConnection(connection);
        pool.on(event, fail);
        await cause(pool, connection);
      });
    },
  );

  // A client whose `connection` listener failed stayed open with nobody listening, and nobody was told which one it was.
  const ofConnection: readonly [
    keyof PoolEvents<Connection>,
    (pool: ConnectionsPool, connection: Connection) => unknown,
  ][] = [
    ['connection', (pool, connection) => pool.newConnection(connection)],
    ['refused', (pool, connection) => [pool.drainConnections(1), pool.newConnection(connection)]],
    ['join', (pool, connection) => [pool.newConnection(connection), connection.join('red')]],
    [
      'leave',
      (pool, connection) => {
        void pool.newConnection(connection);
        connection.join('red');
        connection.leave('red');
      },
    ],
    [
      'disconnection',
      (pool, connection) => [pool.newConnection(connection), pool.removeConnection(connection)],
    ],
  ];

  test.each(ofConnection)(
    `the error event for a listener of %s that ${how} names the connection`,
    async (event, cause) => {
      const pool = new ConnectionsPool();
      const { connection } = connectInMemory();
      const told: unknown[] = [];
      pool.on('error', (error, about) => told.push([error.message, about]));
      pool.on(event, fail);
      cause(pool, connection);
      await nextTurn();
      expect(told).toEqual([['listener failed', connection]]);
    },
  );

  test(`the error event for a listener of emptyNamespace that ${how} names no connection`, async () => {
    const pool = new ConnectionsPool();
    const { connection } = connectInMemory();
    await pool.newConnection(connection);
    const told: unknown[] = [];
    pool.on('error', (_error, about) => told.push(about));
    pool.on('emptyNamespace', fail);
    await pool.removeConnection(connection);
    await nextTurn();
    expect(told).toEqual([undefined]);
  });

  test(`a listener of drain that ${how} does not affect the drain`, async () => {
    const { reasons, settle } = watchUnhandled();
    const pool = new ConnectionsPool();
    await pool.newConnection(connectInMemory().connection);
    pool.on('drain', fail);
    await expect(pool.drainConnections(10)).resolves.toMatchObject({ closed: 1 });
    await settle();
    expect(reasons).toEqual([]);
  });

  test(`an error listener of a pool that ${how} is counted, and its error is not emitted`, async () => {
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

/** The warnings of the process from now on. */
function watchWarnings(): Error[] {
  const warnings: Error[] = [];
  const collect = (warning: Error): void => void warnings.push(warning);
  process.on('warning', collect);
  onTestFinished(() => void process.off('warning', collect));
  return warnings;
}

/** A member whose message listener has a bug, and which receives a message. */
async function joinBroken(pool: ConnectionsPool, id: string) {
  const { connection, socket } = connectInMemory(id);
  await pool.newConnection(connection);
  connection.on('message', () => {
    throw new ReferenceError(`usre is not defined (${id})`);
  });
  return { connection, cause: () => socket.emit('message', Buffer.from('x'), false) };
}

// A misspelt name in a `message` handler printed nothing unless somebody listened to `error`, and took ten minutes to
// find.
test('the first error that nobody listens for emits one process warning per pool', async () => {
  const warnings = watchWarnings();
  const pool = new ConnectionsPool();
  const { cause } = await joinBroken(pool, 'one');
  for (let i = 0; i < 5; i++) cause();
  await nextTurn();
  expect(warnings.map(({ name, message }) => [name, message])).toEqual([
    ['ConnectionsPoolWarning', expect.stringContaining('usre is not defined (one)')],
  ]);
  expect((warnings[0] as Error & { detail?: string }).detail).toContain('safe-emitter.test');
  expect(pool.stats().errors).toBe(5);

  const another = await joinBroken(new ConnectionsPool(), 'two');
  another.cause();
  await nextTurn();
  expect(warnings).toHaveLength(2);
});

test('an error that the pool or the connection has a listener for emits no process warning', async () => {
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
