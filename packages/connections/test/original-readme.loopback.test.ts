import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import * as ws from 'ws';
import { Connection, ConnectionsPool } from '../src/index.js';
import { noteClosing } from './support/closing-time.js';
import { Client, Loopback } from './support/loopback.js';
import { poolOf } from './support/pool-of.js';

/*
 * Each example of the original library's README, word for word except the import line. The promises float there, so they
 * float here.
 */
/* eslint-disable @typescript-eslint/no-floating-promises */

/** The `ws` client; it connects to the server of this test instead of the address in the examples. */
function clientTo(loopback: Loopback): new (url: string) => ws.WebSocket {
  return class extends ws.WebSocket {
    constructor(url: string) {
      super(url === 'ws://localhost:8080' ? loopback.url : url);
      onTestFinished(() => this.terminate());
    }
  };
}

/** The server side of the next client. */
async function accept(loopback: Loopback): Promise<Client> {
  const [socket] = (await once(loopback.server, 'connection')) as [ws.WebSocket];
  return new Client(socket);
}

/** The output of the examples. */
function spyOnConsole() {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  return log;
}

test('the example "Connections" sends to the server and prints what comes back', async () => {
  const loopback = await Loopback.start();
  const WebSocket = clientTo(loopback);
  const accepted = accept(loopback);
  const log = spyOnConsole();

  const ws = new WebSocket('ws://localhost:8080');

  ws.addEventListener('open', () => {
    // The connection is established.

    // Each connection requires a unique ID, which is used for identification.
    // ⚠️ This ID has to be unique in the namespace.
    const connection = new Connection('1', 'default', ws);

    // Listen for messages.
    connection.on('message', (message) => {
      console.log(message);
    });

    // Send a message.
    connection.send('Hello world!');
  });

  const server = await accepted;
  expect(await server.exactly(1)).toEqual(['Hello world!']);
  server.socket.send('Hello client!');
  await vi.waitFor(() => expect(log).toHaveBeenCalled(), 4_000);
  expect(log.mock.calls).toEqual([['Hello client!']]);
});

test('the example "Connections Pool" reaches the connection by its namespace and by its id', async () => {
  const loopback = await Loopback.start();
  const WebSocket = clientTo(loopback);
  const accepted = accept(loopback);

  const ws = new WebSocket('ws://localhost:8080');
  const pool = new ConnectionsPool();

  ws.addEventListener('open', () => {
    const connection = new Connection('1', 'default', ws);

    // Add the connection to the pool.
    pool.newConnection(connection);

    // Send a message to all connections in the "default" namespace.
    pool.broadcastMessage('default', 'Hello world!');

    // Send a message to connection with ID "1" in the "default" namespace.
    pool.send('default', '1', 'Hello world!');
  });

  const server = await accepted;
  expect(await server.exactly(2)).toEqual(['Hello world!', 'Hello world!']);
  expect(pool.stats()).toMatchObject({ connections: 1, namespaces: 1, messagesSent: 2 });
});

describe('"Removing connections"', () => {
  test('the example "Removing connections" takes the connection out of the pool and leaves it open', async () => {
    const { pool, members: pairs } = await poolOf(2, { isNumbered: true });
    const { connection, client } = pairs[0];

    pool.removeConnection(connection);

    expect(pool.getConnection('default', '1')).toBeUndefined();
    expect(pool.getConnection('default', '2')).toBe(pairs[1].connection);
    await pool.broadcastMessage('default', 'for the other one');
    connection.send('for the removed one');
    expect(await client.exactly(1)).toEqual(['for the removed one']);
    expect(await pairs[1].client.exactly(1)).toEqual(['for the other one']);
  });

  test('the example "Removing connections" calls the callback for the last connection of the namespace alone', async () => {
    const { pool, members: pairs } = await poolOf(2, { isNumbered: true });
    const log = spyOnConsole();
    let { connection } = pairs[0];
    const remove = (): void => {
      pool.removeConnection(connection, () => {
        console.log('No more connections in the namespace.');
      });
    };

    remove();
    expect(log).not.toHaveBeenCalled();
    connection = pairs[1].connection;
    remove();
    expect(log.mock.calls).toEqual([['No more connections in the namespace.']]);
    expect(pool.hasNamespace('default')).toBe(false);
  });
});

test('the example "Close all connections" closes those of the namespace with code and reason', async () => {
  const { pool, members: pairs } = await poolOf(3, { isNumbered: true });
  const loopback = await Loopback.start();
  const elsewhere = await loopback.connect('1', 'elsewhere');
  await pool.newConnection(elsewhere.connection);

  pool.closeAll('default', 1000, 'Closing the connection.'); // code and reason are optional

  for (const { client } of pairs) {
    expect(await client.closed).toEqual({ code: 1000, reason: 'Closing the connection.' });
  }
  expect(elsewhere.connection.closed).toBe(false);

  pool.closeAll('elsewhere');
  expect(await elsewhere.client.closed).toEqual({ code: 1000, reason: '' });
});

test('the example "Draining the pool" closes ten connections a second', async () => {
  const { pool, members: pairs } = await poolOf(12, { isNumbered: true });
  const closingTimes = pairs.map(({ socket }) => noteClosing(socket));
  const drained = new Promise((resolve) => pool.once('drain', resolve));

  pool.drainConnections(
    // each second, allow a maximum of 10 connections to be closed
    10,
    // reason is optional
    'Closed by the server.',
    // the code is optional
    1000,
  );

  for (const { client } of pairs) {
    expect(await client.closed).toEqual({ code: 1000, reason: 'Closed by the server.' });
  }
  const times = (await Promise.all(closingTimes)).toSorted((a, b) => a - b);
  expect(times[10]! - times[0]!).toBeGreaterThanOrEqual(1_000);
  expect(times[11]! - times[1]!).toBeGreaterThanOrEqual(1_000);
  expect(await drained).toMatchObject({ closed: 12 });
});
