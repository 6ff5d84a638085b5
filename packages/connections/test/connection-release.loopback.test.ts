import { once } from 'node:events';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';

test('the socket of a released connection works on by itself, in both directions', async () => {
  const pool = new ConnectionsPool({ heartbeat: true, idleTimeout: 60_000 });
  const { client, socket, connection } = await (await Loopback.start()).connect('1');
  const before = socket.eventNames();
  await pool.newConnection(connection);
  void pool.broadcastMessage('default', 'pending');
  connection.release();
  expect(socket.eventNames().length).toBeLessThan(before.length);
  expect(socket.listenerCount('message')).toBe(0);
  socket.send('from the owner');
  expect(await client.exactly(2)).toEqual(['pending', 'from the owner']);
  const received = once(socket, 'message');
  client.socket.send('to the owner');
  expect(String((await received)[0])).toBe('to the owner');
  socket.close(4000, 'by the owner');
  expect(await client.closed).toEqual({ code: 4000, reason: 'by the owner' });
});
