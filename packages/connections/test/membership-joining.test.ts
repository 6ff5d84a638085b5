import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { hostileStrings } from './support/hostile-strings.js';
import { connectInMemory, endingWithTest, MemorySocket } from './support/memory-socket.js';

test('a connection of another pool rejects with ERR_CONNECTION_IN_USE and stays where it is', async () => {
  const [one, other] = [new ConnectionsPool(), new ConnectionsPool({ onDuplicate: 'replace' })];
  const { connection } = connectInMemory();
  await one.newConnection(connection);
  await expect(other.newConnection(connection)).rejects.toMatchObject({ code: 'ERR_CONNECTION_IN_USE' });
  await other.removeConnection(connection);
  expect(one.getConnection('default', '1')).toBe(connection);
  // The caller's mistake, not a refusal.
  expect(other.stats()).toMatchObject({ connections: 0, refused: 0 });

  await one.removeConnection(connection);
  await other.newConnection(connection);
  expect(other.getConnection('default', '1')).toBe(connection);
});

test('a connection that joins twice is in the pool once', async () => {
  const pool = new ConnectionsPool();
  const onConnection = vi.fn();
  pool.on('connection', onConnection);
  const { connection } = connectInMemory();
  await pool.newConnection(connection);
  await pool.newConnection(connection);
  expect(pool.stats().connections).toBe(1);
  expect(onConnection).toHaveBeenCalledTimes(1);
  await expect(pool.broadcastMessage('default', 'x')).resolves.toMatchObject({ recipients: 1 });
});

test('a pool that drains joins a second drain to the first and takes nobody', async () => {
  const pool = new ConnectionsPool();
  const member = connectInMemory('1', 'default', new MemorySocket(false));
  await pool.newConnection(member.connection);
  const drained = pool.drainConnections(10);
  const joined = pool.drainConnections(10);
  await expect(pool.drainConnections(0)).rejects.toThrow(RangeError);
  const late = connectInMemory('2');
  const refused = once(pool, 'refused');
  await pool.newConnection(late.connection);
  expect(await refused).toEqual([late.connection, expect.objectContaining({ code: 'ERR_POOL_DRAINING' })]);
  expect(late.connection.closed).toBe(true);
  expect(late.socket.closes).toMatchObject([{ code: 1013 }]);
  // A connection that is already in the pool stays in it.
  await expect(pool.newConnection(member.connection)).resolves.toBeUndefined();
  member.socket.end();
  expect(await joined).toBe(await drained);
  expect(pool.stats()).toMatchObject({ drains: 1, refused: 1 });
});

test.each(hostileStrings)('%s is an ordinary namespace and an ordinary id', async (_title, name) => {
  const pool = new ConnectionsPool();
  const bystander = connectInMemory('bystander', 'elsewhere');
  await pool.newConnection(bystander.connection);
  const empty = vi.fn();
  const { connection, socket } = connectInMemory(name, name);
  const twin = connectInMemory(`${name}'`, name);
  expect(pool.hasNamespace(name)).toBe(false);
  expect(pool.getConnection(name, name)).toBeUndefined();

  await pool.newConnection(connection);
  await pool.newConnection(twin.connection);
  expect([...pool.connections.keys()]).toEqual(['elsewhere', name]);
  expect(pool.getConnection(name, name)).toBe(connection);
  const duplicate = connectInMemory(name, name);
  const refused = once(pool, 'refused');
  await pool.newConnection(duplicate.connection);
  expect(await refused).toEqual([
    duplicate.connection,
    expect.objectContaining({ code: 'ERR_DUPLICATE_CONNECTION' }),
  ]);
  expect(duplicate.connection.closed).toBe(true);
  await expect(pool.send(name, name, 'private')).resolves.toBe(true);
  await expect(pool.broadcastMessage(name, 'all', [name])).resolves.toMatchObject({
    recipients: 1,
    sent: 1,
  });
  expect(connection.toRemote(name)).toEqual({ id: name, namespace: name, instanceId: name });

  await pool.removeConnection(twin.connection, empty);
  expect(empty).not.toHaveBeenCalled();
  await pool.removeConnection(connection, empty);
  expect(empty).toHaveBeenCalledTimes(1);
  expect(pool.hasNamespace(name)).toBe(false);
  expect(socket.sent).toEqual(['private']);
  expect(twin.socket.sent).toEqual(['all']);
  expect(bystander.socket.sent).toEqual([]);
  expect(({} as Record<string, unknown>)['bystander']).toBeUndefined();
});

/** A pool in which a newcomer replaces a connection whose pending messages make user code `act` on the newcomer. */
async function replaceWhile(act: (pool: ConnectionsPool, newcomer: Connection) => void) {
  const pool = new ConnectionsPool({ onDuplicate: 'replace' });
  const events: string[] = [];
  const { socket, connection: newcomer } = connectInMemory('1', 'default', new MemorySocket());
  const name = (connection: Connection): string => (connection === newcomer ? 'new' : 'old');
  pool.on('connection', (connection) => events.push(`+ ${name(connection)}`));
  pool.on('disconnection', (connection) => events.push(`- ${name(connection)}`));
  pool.on('emptyNamespace', () => events.push('0'));
  const old = new Connection('1', 'default', endingWithTest(new MemorySocket()), {
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
