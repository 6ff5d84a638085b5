import { once } from 'node:events';
import { expect, test } from 'vitest';
import { ConnectionsPool, type ConnectionEvents } from '../src/index.js';
import { poolOf } from './support/pool-of.js';

test('a connection emits message with text or bytes', async () => {
  const { members } = await poolOf(1, { isNumbered: true });
  const { client, connection } = members[0];
  const seen: ConnectionEvents['message'][] = [];
  const both = new Promise<void>((resolve) => {
    connection.on('message', (...args) => {
      if (seen.push(args) === 2) resolve();
    });
  });
  client.socket.send('text');
  client.socket.send(Buffer.from([0, 255]));
  await both;
  expect(seen).toEqual([
    ['text', false],
    [Buffer.from([0, 255]), true],
  ]);
});

test('a connection emits close once, with code and reason', async () => {
  const { members } = await poolOf(1, { isNumbered: true });
  const { client, connection, socket } = members[0];
  const closes: unknown[] = [];
  connection.on('close', (code, reason) => closes.push([code, reason]));
  client.socket.close(4001, 'bye');
  await once(connection, 'close');
  connection.handleClose(4002, 'again');
  socket.emit('close', 4003, Buffer.from('again'));
  expect(closes).toEqual([[4001, 'bye']]);
});

test('a connection emits pong', async () => {
  const { members } = await poolOf(1, { isNumbered: true });
  const { connection, socket } = members[0];
  const pong = once(connection, 'pong');
  socket.ping();
  await pong;
});

test('a socket error without a listener throws nothing', async () => {
  const { pool, members } = await poolOf(2, { isNumbered: true });
  const [first, second] = members;
  first.socket.emit('error', new Error('ECONNRESET'));
  expect(pool.stats().errors).toBe(1);

  const error = once(second.connection, 'error');
  second.socket.emit('error', 'not even an Error');
  const [told] = (await error) as [Error];
  expect(told).toBeInstanceOf(Error);
  expect(told.message).toContain('not even an Error');
});

test('a pool emits connection and disconnection, with code and reason', async () => {
  const pool = new ConnectionsPool();
  const told: unknown[] = [];
  pool.on('connection', ({ id }) => told.push(['connection', id]));
  pool.on('disconnection', ({ id }, code, reason) => told.push(['disconnection', id, code, reason]));
  pool.on('emptyNamespace', (namespace) => told.push(['emptyNamespace', namespace]));
  const { members } = await poolOf(3, { pool, isNumbered: true });
  const [first, second, third] = members;

  first.client.socket.close(4001, 'bye');
  await once(first.connection, 'close');
  await pool.removeConnection(second.connection);
  third.client.socket.terminate();
  await once(third.connection, 'close');
  await second.connection.close();
  expect(told).toEqual([
    ['connection', '1'],
    ['connection', '2'],
    ['connection', '3'],
    ['disconnection', '1', 4001, 'bye'],
    ['disconnection', '2', undefined, ''],
    ['disconnection', '3', 1006, ''],
    ['emptyNamespace', 'default'],
  ]);
});

test('the pool no longer finds a connection when its disconnection event is emitted', async () => {
  const { pool, members } = await poolOf(1, { isNumbered: true });
  const { client, connection } = members[0];
  const found: unknown[] = [];
  const look = (): void => void found.push(pool.getConnection('default', '1'), pool.hasNamespace('default'));
  pool.on('disconnection', look);
  connection.on('close', look);
  client.socket.close();
  await once(connection, 'close');
  expect(found).toEqual([undefined, false, undefined, false]);
});

test('a pool emits drain with the report', async () => {
  const { pool } = await poolOf(2, { isNumbered: true });
  const told = once(pool, 'drain');
  const report = await pool.drainConnections(10);
  expect(await told).toEqual([report]);
  expect(report).toMatchObject({ closed: 2 });
});
