import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { Client, Loopback } from '../support/loopback.js';

// All messages that a client sent in its `open` event were lost, because the server looked its user up first.
test('messages that a client sends at once survive a lookup before the first listener', async () => {
  const { server, url } = await Loopback.start();
  const pool = new ConnectionsPool();
  const messages: unknown[] = [];
  server.on('connection', (socket) => {
    const connection = new Connection('1', 'default', socket);
    void (async () => {
      await delay(50);
      await pool.newConnection(connection);
      connection.on('message', (message) => messages.push(message));
    })();
  });
  const socket = new WebSocket(url);
  socket.on('open', () => {
    for (let i = 0; i < 5; i++) socket.send(`message ${i}`);
  });
  await expect.poll(() => messages).toEqual([0, 1, 2, 3, 4].map((i) => `message ${i}`));
});

test('a ws socket is paused while megabytes arrive before the first listener, and nothing is lost', async () => {
  const { client, socket, connection } = await (await Loopback.start()).connect('1');
  for (let i = 0; i < 100; i++) client.socket.send(Buffer.alloc(20_000, i));
  await expect.poll(() => socket.isPaused).toBe(true);
  const first: number[] = [];
  connection.on('message', (message) => first.push((message as Uint8Array)[0]!));
  await expect.poll(() => first.length, { timeout: 10_000 }).toBe(100);
  expect(first).toEqual([...Array(100).keys()]);
  expect(socket.isPaused).toBe(false);
});

test('a connection whose client leaves during a lookup reports it, although messages were held', async () => {
  const { server, url } = await Loopback.start();
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const client = new Client(new WebSocket(url));
  const [socket] = await accepted;
  const connection = new Connection('1', 'default', socket);
  await once(client.socket, 'open');
  client.socket.send('hello');
  client.socket.close(4000, 'bye');
  await once(socket, 'close');
  expect(connection.closed).toBe(true);
  await connection.close();
});
