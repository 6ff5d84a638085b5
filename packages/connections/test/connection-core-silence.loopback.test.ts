import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';
import { connectMute } from './support/raw-client.js';

/** A text frame as a client sends it, masked with zeros. */
const frame = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

async function joinMute(options = {}) {
  const loopback = await Loopback.start();
  const pool = new ConnectionsPool({ closeTimeout: 400, ...options });
  const { client, socket } = await connectMute(loopback);
  const connection = new Connection('1', 'default', socket);
  const heard: unknown[] = [];
  connection.on('message', (message) => heard.push(message));
  await pool.newConnection(connection);
  client.write(frame('before'));
  await expect.poll(() => heard).toEqual(['before']);
  return { loopback, pool, client, connection, heard };
}

/** Sends until the connection is gone. */
async function talkUntilClosed(client: NodeJS.WritableStream, connection: Connection): Promise<void> {
  const timer = setInterval(() => client.write(frame('still here')), 10);
  await connection.close();
  clearInterval(timer);
}

// A banned client that did not answer the close frame could send messages for ten more seconds, and the usual
// `connection.on('message', …)` that broadcasts sent them to everybody.
describe('a client that is being closed and goes on sending', () => {
  const ways: Record<string, (pool: ConnectionsPool, connection: Connection, loopback: Loopback) => unknown> =
    {
      'close()': (_, connection) => connection.close(4003, 'Banned'),
      'sendErrorThenClose()': (_, connection) => connection.sendErrorThenClose('kicked', 4003, 'Kicked'),
      'sendThenClose()': (_, connection) => connection.sendThenClose('bye', 4003),
      'the close() of a pool': (pool) => pool.close('default', '1', 4003),
      'closeAll()': (pool) => pool.closeAll('default', 4003),
      'broadcastError() with a code': (pool) => pool.broadcastError('default', 'fatal', 4003),
      "onDuplicate: 'replace'": async (pool, _, loopback) => {
        const { connection } = await loopback.connect('1');
        await pool.newConnection(connection);
      },
    };

  test.each(Object.entries(ways))('no message arrives any more after %s', async (_title, act) => {
    const { loopback, pool, client, connection, heard } = await joinMute({ onDuplicate: 'replace' });
    const before = pool.stats();
    const acted = act(pool, connection, loopback);
    if (_title.includes('replace')) await acted;
    expect(connection.closed).toBe(true);
    await talkUntilClosed(client, connection);
    await acted;
    expect(heard).toEqual(['before']);
    const { messagesReceived, messagesIgnored } = pool.stats();
    expect(messagesReceived).toBe(before.messagesReceived);
    // A replaced connection has left the pool, which no longer counts anything for it.
    if (!_title.includes('replace')) expect(messagesIgnored).toBeGreaterThan(0);
  });

  test('no message arrives any more after terminate()', async () => {
    const { client, connection, heard } = await joinMute();
    client.write(frame('on the way'));
    connection.terminate();
    await connection.close();
    await delay(20);
    expect(heard).toEqual(['before']);
  });

  test('no message arrives any more after a slow reader was closed', async () => {
    const { client, connection, heard } = await joinMute({ maxBufferedBytes: 100 });
    expect(await connection.send('x'.repeat(200))).toBe(false);
    await talkUntilClosed(client, connection);
    expect(heard).toEqual(['before']);
  });

  test('a newcomer that is refused is closed, and none of its messages arrive', async () => {
    const { loopback, pool } = await joinMute();
    const { client, socket } = await connectMute(loopback);
    const refused = new Connection('1', 'default', socket);
    const heard: unknown[] = [];
    refused.on('message', (message) => heard.push(message));
    const closed = new Promise((resolve) => pool.once('refused', (_, { code }) => resolve(code)));
    await pool.newConnection(refused);
    expect(await closed).toBe('ERR_DUPLICATE_CONNECTION');
    client.write(frame('refused, but I talk'));
    await delay(50);
    expect(heard).toEqual([]);
    refused.terminate();
  });

  test('a drain still delivers messages until the socket has closed', async () => {
    const { pool, client, connection, heard } = await joinMute();
    const drained = pool.drainConnections({ grace: 300 });
    await expect.poll(() => connection.closed).toBe(true);
    client.write(frame('last words'));
    await drained;
    expect(heard).toEqual(['before', 'last words']);
    expect(pool.stats().messagesIgnored).toBe(0);
  });

  test('close() by the application ends the delivery of a connection that is in a drain too', async () => {
    const { pool, client, connection, heard } = await joinMute();
    const closed = connection.close(4000);
    const drained = pool.drainConnections({ grace: 300 });
    client.write(frame('too late'));
    await Promise.all([closed, drained]);
    expect(heard).toEqual(['before']);
  });
});
