import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';

test('ids of different types are different ids', async () => {
  const pool = new ConnectionsPool<string, Connection<string | number | bigint, string, MemorySocket>>();
  const ids = ['1', 1, 1n, '', 0];
  for (const id of ids) await pool.newConnection(new Connection(id, 'a', new MemorySocket()));
  expect([...pool.namespace('a').keys()]).toEqual(ids);
  for (const id of ids) expect(pool.getConnection('a', id)?.id).toBe(id);
  await expect(pool.broadcastMessage('a', 'x', [1, ''])).resolves.toMatchObject({ recipients: 3 });
});

test('the same id in another namespace is another connection', async () => {
  const pool = new ConnectionsPool();
  const [a, b] = [connectInMemory('1', 'a'), connectInMemory('1', 'b')];
  await pool.newConnection(a.connection);
  await pool.newConnection(b.connection);
  await pool.send('a', '1', 'for a');
  await pool.broadcastMessage('b', 'for b');
  await pool.closeAll('a');
  expect([a.socket.sent, b.socket.sent]).toEqual([['for a'], ['for b']]);
  expect(pool.getConnection('b', '1')).toBe(b.connection);
  expect(pool.hasNamespace('a')).toBe(false);
});

test('the maps that a pool hands out are live', async () => {
  const pool = new ConnectionsPool();
  const { connections } = pool;
  const { connection, socket } = connectInMemory('1', 'a');
  await pool.newConnection(connection);
  const members = pool.namespace('a');
  expect(connections.get('a')).toBe(members);
  await pool.newConnection(connectInMemory('2', 'a').connection);
  expect([...members.keys()]).toEqual(['1', '2']);
  socket.end();
  expect([...members.keys()]).toEqual(['2']);
  expect([...connections.keys()]).toEqual(['a']);
});

// They had methods of the library, such as join() and broadcast(), that changed or broke the pool.
test('the maps that a pool hands out have no other members than a Map', async () => {
  const pool = new ConnectionsPool();
  const { connection } = connectInMemory('1', 'a');
  await pool.newConnection(connection);
  connection.join('red');
  const maps = [pool.connections, pool.namespace('a'), pool.rooms('a'), pool.room('a', 'red')];
  for (const map of maps) {
    const names = new Set<string>();
    for (let object: object = map; object !== Map.prototype; object = Object.getPrototypeOf(object) as object)
      for (const name of Object.getOwnPropertyNames(object)) names.add(name);
    expect([...names].filter((name) => !(name in Map.prototype))).toEqual([]);
    expect(map.size).toBe(1);
  }
});

test('reading from a namespace or sending to it does not create it', async () => {
  // In the original `namespace(name)` created a missing namespace. If the name came from a URL, a client that asked for
  // random ones filled the memory of the process.
  const pool = new ConnectionsPool();
  const stranger = connectInMemory('1', 'elsewhere').connection;
  for (const name of ['a', 'b', '__proto__', 'constructor', '']) {
    pool.namespace(name);
    pool.hasNamespace(name);
    pool.getConnection(name, '1');
    await pool.send(name, '1', 'x');
    await pool.sendJson(name, '1', 'x');
    await pool.sendError(name, '1', 'x');
    await pool.sendThenClose(name, '1', 'x');
    await pool.sendJsonThenClose(name, '1', 'x');
    await pool.sendErrorThenClose(name, '1', 'x');
    await pool.close(name, '1');
    await pool.closeAll(name);
    await pool.broadcastMessage(name, 'x', ['1']);
    await pool.broadcastJsonMessage(name, 'x');
    await pool.broadcastError(name, 'x', 4000);
  }
  await pool.removeConnection(stranger);
  // A map that was handed out does not become a namespace when somebody writes to it.
  pool.namespace('a').set('1', stranger);
  expect(pool.hasNamespace('a')).toBe(false);
  expect(pool.connections.size).toBe(0);
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
});

test('a pool whose connections have all closed holds no namespace', async () => {
  const pool = new ConnectionsPool();
  const pairs = Array.from({ length: 100 }, (_, n) =>
    connectInMemory(`${n % 10}`, `namespace ${(n / 10) | 0}`),
  );
  for (const { connection } of pairs) await pool.newConnection(connection);
  expect(pool.stats()).toMatchObject({ connections: 100, namespaces: 10 });
  for (const { socket } of pairs) socket.end();
  expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0 });
  expect(pool.connections.size).toBe(0);
});
