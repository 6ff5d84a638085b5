import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { poolOf } from './support/pool-of.js';
import { watchUnhandled } from './support/unhandled.js';

test('calls that nobody awaits cause no unhandled rejection when sockets fail and peers vanish', async () => {
  // The original started promises without waiting for them: a single socket that failed at the wrong moment ended the
  // whole process.
  const { reasons, settle } = watchUnhandled();
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const gone = await loopback.connect('gone');
  await pool.newConnection(gone.connection);
  gone.socket.terminate();
  const broken = new MemorySocket();
  broken.send = () => {
    throw new Error('EPIPE');
  };
  broken.close = () => {
    throw new Error('EPIPE');
  };
  const brokenConnection = connectInMemory('broken', 'default', broken).connection;
  void pool.newConnection(brokenConnection);
  const rejecting = new Connection('rejecting', 'default', new MemorySocket(), {
    send: () => Promise.reject(new Error('send failed')),
    close: () => Promise.reject(new Error('close failed')),
  });
  void pool.newConnection(rejecting);
  void pool.newConnection(connectInMemory('rejecting').connection);

  for (const id of ['gone', 'broken', 'rejecting', 'nobody']) {
    void pool.send('default', id, 'x');
    void pool.sendJson('default', id, {});
    void pool.sendError('default', id, 'x');
  }
  void pool.broadcastMessage('default', 'x');
  void pool.broadcastError('default', 'x', 4000);
  void gone.connection.send('x');
  void gone.connection.sendErrorThenClose('x');
  void gone.connection.close();
  void brokenConnection.sendThenClose('x');
  void rejecting.sendThenClose('x');
  void pool.closeAll('default');
  void pool.drainConnections();
  void pool.newConnection(connectInMemory('late').connection);
  await settle();
  await vi.waitFor(() => expect(pool.stats().connections).toBe(0), 4_000);
  await settle();
  expect(reasons).toEqual([]);
});

test('a broadcast encodes its JSON once for all recipients', async () => {
  // The original called JSON.stringify for each recipient.
  const { pool, members: pairs } = await poolOf(3);
  const value = { toJSON: vi.fn(() => ({ encoded: value.toJSON.mock.calls.length })) };

  await pool.broadcastJsonMessage('default', value);
  for (const { client } of pairs) expect(await client.exactly(1)).toEqual(['{"encoded":1}']);
  expect(value.toJSON).toHaveBeenCalledTimes(1);

  value.toJSON.mockClear();
  await pool.broadcastError('default', value);
  for (const { client } of pairs) expect(await client.exactly(1)).toEqual(['{"encoded":1}']);
});
