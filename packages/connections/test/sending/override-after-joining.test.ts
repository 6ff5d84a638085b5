import { expect, test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { connectInMemory } from '../support/memory-socket.js';

// A tracer put its own `send` in front of that of connections that had joined. The broadcasts of the turn were then
// lost when such a connection was closed, and their promises never settled.
test('a send that is replaced after joining loses no broadcast that is pending when sendThenClose is called', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  const broadcast = pool.broadcastMessage('default', 'broadcast');
  const send = connection.send.bind(connection);
  Object.assign(connection, { send: (message: string) => send(message) });
  expect(await connection.sendThenClose('bye')).toBe(true);
  expect(await broadcast).toEqual({ recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 });
  expect(socket.sent).toEqual(['broadcast', 'bye']);
  expect(socket.readyState).toBe(3);
});
