import { expect, test } from 'vitest';
import { ConnectionsPool, type WebSocketMessage } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { onTestFinished } from './support/on-test-finished.js';
import { anything } from './support/refusals.js';
import { cyclic } from './support/wrong-values.js';

test('a message that a WebSocket cannot send does not affect the messages around it', async () => {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool();
  const { client, connection } = await loopback.connect('1');
  await pool.newConnection(connection);
  onTestFinished(() => connection.terminate());
  const outcomes = await Promise.allSettled([
    connection.send('one'),
    connection.send(anything({ not: 'a message' })),
    pool.broadcastMessage('default', 'two'),
    pool.broadcastMessage('default', anything(null)),
    pool.broadcastJsonMessage('default', cyclic),
    connection.send(new Uint8Array([1, 2]) satisfies WebSocketMessage),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ]);
  expect(await client.exactly(3)).toEqual(['one', 'two', Buffer.from([1, 2])]);
});
