import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type BroadcastResult, type WebSocketMessage } from '../../src/index.js';
import { endTurn } from '../support/engine.js';
import { Loopback } from '../support/loopback.js';

const ONE_FAILED = { recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 };
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };

class Shouting extends Connection {
  override async send(message: WebSocketMessage): Promise<boolean> {
    return super.send(typeof message === 'string' ? message.toUpperCase() : message);
  }
}

// The connection counted as closed already when its pending broadcasts were handed to the overridden send().
test('an overridden send passes on what is pending when the connection closes', async () => {
  const pool = new ConnectionsPool();
  const { client, socket } = await (await Loopback.start()).pair();
  await pool.newConnection(new Shouting('1', 'default', socket));
  expect(await pool.broadcastError('default', 'going', 1011)).toEqual(ONE_SENT);
  expect((await client.closed).code).toBe(1011);
  expect(client.inbox).toEqual(['GOING']);
});

// Each message that an overridden send() passed on was put before the one that waited already.
test('an overridden send keeps its order before and after an open fragmented message', async () => {
  const pool = new ConnectionsPool();
  const { client, socket } = await (await Loopback.start()).pair();
  await pool.newConnection(new Shouting('1', 'default', socket));
  const broadcast = (texts: string): Promise<BroadcastResult[]> =>
    Promise.all(texts.split('').map((text) => pool.broadcastMessage('default', text)));
  const before = broadcast('uvw');
  socket.send('A', { fin: false });
  const inside = broadcast('xyz');
  await endTurn();
  socket.send('B', { fin: true });
  const after = broadcast('123');
  expect(await client.exactly(7)).toEqual(['U', 'V', 'W', 'AB', '1', '2', '3']);
  expect(await before).toEqual([ONE_SENT, ONE_SENT, ONE_SENT]);
  expect(await inside).toEqual([ONE_FAILED, ONE_FAILED, ONE_FAILED]);
  expect(await after).toEqual([ONE_SENT, ONE_SENT, ONE_SENT]);
});
