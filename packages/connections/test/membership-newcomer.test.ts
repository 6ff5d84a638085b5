import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

/** A pool in which a newcomer replaces a connection whose pending messages make user code `act` on the newcomer. */
async function replaceWhile(act: (pool: ConnectionsPool, newcomer: Connection) => void) {
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const events: string[] = [];
  const { socket, connection: newcomer } = connectInMemory('1', 'default', new MemorySocket());
  const name = (connection: Connection): string => (connection === newcomer ? 'new' : 'old');
  pool.on('connection', (connection) => events.push(`+ ${name(connection)}`));
  pool.on('disconnection', (connection) => events.push(`- ${name(connection)}`));
  pool.on('emptyNamespace', () => events.push('0'));
  const old = new Connection('1', 'default', new MemorySocket(), {
    send: () => act(pool, newcomer),
    close: () => undefined,
  });
  await pool.newConnection(old);
  void pool.broadcastMessage('default', 'pending');
  await pool.newConnection(newcomer);
  return { pool, newcomer, socket, events };
}

// It stayed in the pool for ever, closed as it was.
test('a newcomer that is terminated while it replaces another one is gone', async () => {
  const { pool, newcomer, events } = await replaceWhile((_, connection) => connection.terminate());
  expect(pool.getConnection('default', '1')).toBeUndefined();
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  expect(newcomer.closed).toBe(true);
  expect(events).toEqual(['+ old', '0', '- old']);
});

// The pool took it for one of its own from then on: it could never join again.
test('a newcomer that is removed while it replaces another one can join again', async () => {
  const { pool, newcomer, events } = await replaceWhile(
    (own, connection) => void own.removeConnection(connection),
  );
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  await pool.newConnection(newcomer);
  expect(pool.getConnection('default', '1')).toBe(newcomer);
  expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 1, sent: 1 });
  // Nobody hears that somebody has left of whom nobody has heard.
  expect(events).toEqual(['+ old', '0', '- old', '+ new']);
});

test('a newcomer that is removed and joins again while it replaces another one is announced once', async () => {
  const { pool, newcomer, events } = await replaceWhile((own, connection) => {
    void own.removeConnection(connection);
    void own.newConnection(connection);
  });
  expect(pool.getConnection('default', '1')).toBe(newcomer);
  expect(pool.stats()).toMatchObject({ connections: 1, namespaces: 1 });
  expect(events.filter((event) => event !== '0')).toEqual(['+ old', '+ new', '- old']);
});
