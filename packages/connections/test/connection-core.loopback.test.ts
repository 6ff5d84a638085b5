import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { closesOf } from './support/closes-of.js';
import { Loopback } from './support/loopback.js';

test('a connection on a closed socket is closed from the start: nothing is sent and close() resolves', async () => {
  const { client, socket } = await (await Loopback.start()).pair();
  client.socket.close();
  await once(socket, 'close');

  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);

  expect(connection.closed).toBe(true);
  expect(pool.hasNamespace('default')).toBe(false);
  expect(await connection.send('x')).toBe(false);
  await connection.close();
  connection.terminate();
});

test('a connection on a closing socket still reports its close', async () => {
  const { client, socket } = await (await Loopback.start()).pair();
  socket.close(4000, 'early');

  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', socket);
  const closed = once(connection, 'close');
  await pool.newConnection(connection);

  expect(connection.closed).toBe(true);
  expect(pool.hasNamespace('default')).toBe(false);
  expect(await connection.send('x')).toBe(false);
  await connection.close(4001, 'later');
  expect(await closed).toEqual([4000, 'early']);
  expect(await client.closed).toEqual({ code: 4000, reason: 'early' });
});
// A client left while its user was being looked up. newConnection() resolved, the application remembered the user, and
// the `close` that should have removed it never came: one leaked entry for each client that left too early.
describe('a connection on a socket that closed during a lookup', () => {
  async function connectDead() {
    const { client, socket } = await (await Loopback.start()).pair();
    client.socket.terminate();
    await once(socket, 'close');
    return new Connection('1', 'default', socket);
  }

  test('a connection on a dead socket is closed at once and emits close with 1006 in the next turn', async () => {
    const connection = await connectDead();
    const closes = closesOf(connection);
    expect(connection.closed).toBe(true);
    expect(closes).toEqual([]);
    await once(connection, 'close');
    await delay(10);
    expect(closes).toEqual([[1006, '']]);
  });

  test('a connection on a dead socket is refused with ERR_CONNECTION_CLOSED, and its close still comes', async () => {
    const pool = new ConnectionsPool();
    const users = new Set<Connection>();
    const events: unknown[] = [];
    pool.on('connection', () => events.push('connection'));
    pool.on('disconnection', () => events.push('disconnection'));
    pool.on('refused', (_connection, { code }) => events.push(code));
    const connection = await connectDead();
    await pool.newConnection(connection);
    users.add(connection);
    connection.on('close', () => users.delete(connection));
    await connection.close();
    expect(users.size).toBe(0);
    expect(events).toEqual(['ERR_CONNECTION_CLOSED']);
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, refused: 1, closing: 0 });
  });

  test('a connection on a dead socket does not replace the holder of its id', async () => {
    const pool = new ConnectionsPool({ onDuplicate: 'replace' });
    const { client, connection: holder } = await (await Loopback.start()).connect('1');
    await pool.newConnection(holder);
    await pool.newConnection(await connectDead());
    expect(pool.getConnection('default', '1')).toBe(holder);
    await pool.broadcastMessage('default', 'still here');
    expect(await client.exactly(1)).toEqual(['still here']);
  });
});

test('an error that ends a connection reaches the client before the one close', async () => {
  // The original closed twice: in `sendError`, and then again with other arguments.
  const loopback = await Loopback.start();
  const { client, connection } = await loopback.connect('1');
  const sent = connection.sendErrorThenClose({ error: 'quota' }, 4001, 'Quota');
  expect(await client.next()).toBe('{"error":"quota"}');
  expect(await client.closed).toEqual({ code: 4001, reason: 'Quota' });
  await expect(sent).resolves.toBe(true);
});
