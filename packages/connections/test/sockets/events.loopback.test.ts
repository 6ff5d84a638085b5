import { once } from 'node:events';
import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type NativeWebsocket } from '../../src/index.js';
import { Loopback } from '../support/loopback.js';
import { nextMessage } from '../support/record.js';

test('a text message arrives as a string and a binary one as bytes', async () => {
  const { client, connection } = await (await Loopback.start()).connect('1');

  client.socket.send('grüße 👋');
  expect(await nextMessage(connection)).toEqual(['grüße 👋', false]);

  client.socket.send(Buffer.from([0, 1, 255]));
  expect(await nextMessage(connection)).toEqual([Buffer.from([0, 1, 255]), true]);
});

test.each(['nodebuffer', 'arraybuffer', 'fragments'] as const)(
  'a binary message arrives as bytes with binaryType %s, also in fragments',
  async (binaryType) => {
    const { client, socket, connection } = await (await Loopback.start()).connect('1');
    socket.binaryType = binaryType;

    const received = nextMessage(connection);
    client.socket.send(Buffer.from('ab'), { fin: false, binary: true });
    client.socket.send(Buffer.from('cd'), { fin: true });
    const [bytes, isBinary] = await received;
    expect(bytes).toBeInstanceOf(Uint8Array);
    expect(Buffer.from(bytes as Uint8Array).toString()).toBe('abcd');
    expect(isBinary).toBe(true);

    client.socket.send('text');
    expect(await nextMessage(connection)).toEqual(['text', false]);
  },
);

test('a sealed socket can be wrapped, also by several connections', async () => {
  const { client, socket } = await (await Loopback.start()).pair();
  Object.seal(socket);
  const one = new Connection('1', 'one', socket);
  const two = new Connection('2', 'two', socket);
  const received = Promise.all([nextMessage(one), nextMessage(two)]);
  client.socket.send('hello');
  expect(await received).toEqual([
    ['hello', false],
    ['hello', false],
  ]);
  const closed = once(two, 'close');
  await one.close(4000, 'bye');
  expect(await closed).toEqual([4000, 'bye']);
});

// Listeners are called on the inner socket then. They looked for their connection there, and dropped every event: no
// message arrived, and a connection whose client had gone stayed in the pool.
test.each<[title: string, wrap: (socket: WebSocket) => NativeWebsocket]>([
  [
    'on() of an emitter',
    (socket) => ({
      on: (event: string, listener: (...args: unknown[]) => void) => socket.on(event, listener),
      off: (event: string, listener: (...args: unknown[]) => void) => socket.off(event, listener),
      send: (message: string) => socket.send(message),
      close: (code?: number, reason?: string) => socket.close(code, reason),
    }),
  ],
  [
    'addEventListener() of an event target',
    (socket) => ({
      addEventListener: socket.addEventListener.bind(socket),
      removeEventListener: socket.removeEventListener.bind(socket),
      send: (message: string) => socket.send(message),
      close: (code?: number, reason?: string) => socket.close(code, reason),
    }),
  ],
])('a wrapper that passes %s on to a socket inside it gets its own events', async (_title, wrap) => {
  const { client, socket } = await (await Loopback.start()).pair();
  const pool = new ConnectionsPool();
  const inner = new Connection('inner', 'default', socket);
  const outer = new Connection('outer', 'default', wrap(socket));
  const released = new Connection('released', 'default', wrap(socket));
  await Promise.all([inner, outer, released].map((connection) => pool.newConnection(connection)));
  released.release();

  const received = Promise.all([nextMessage(inner), nextMessage(outer)]);
  client.socket.send('hello');
  expect(await received).toEqual([
    ['hello', false],
    ['hello', false],
  ]);

  const closed = once(outer, 'close');
  client.socket.close(4000, 'bye');
  expect(await closed).toEqual([4000, 'bye']);
  expect(pool.stats().connections).toBe(0);
});

test('a message listener that throws breaks neither its own socket nor another one', async () => {
  const loopback = await Loopback.start();
  const one = await loopback.connect('1');
  const two = await loopback.connect('2');
  const errors: unknown[] = [];
  one.connection.on('error', (error) => errors.push(error));
  one.connection.once('message', () => {
    throw new Error('listener');
  });
  one.client.socket.send('bad');
  await one.client.roundTrip();
  expect(errors).toEqual([new Error('listener')]);

  one.client.socket.send('good');
  two.client.socket.send('good');
  expect(await Promise.all([nextMessage(one.connection), nextMessage(two.connection)])).toEqual([
    ['good', false],
    ['good', false],
  ]);
});

test('two connections over one socket both receive its messages, and both close with it', async () => {
  const { client, socket } = await (await Loopback.start()).pair();
  const pool = new ConnectionsPool();
  const one = new Connection('1', 'one', socket);
  const two = new Connection('2', 'two', socket);
  await Promise.all([pool.newConnection(one), pool.newConnection(two)]);

  const received = Promise.all([nextMessage(one), nextMessage(two)]);
  client.socket.send('hello');
  expect(await received).toEqual([
    ['hello', false],
    ['hello', false],
  ]);

  await pool.broadcastMessage('one', 'for one');
  await pool.broadcastMessage('two', 'for two');
  expect(await client.exactly(2)).toEqual(['for one', 'for two']);

  const closes = Promise.all([once(one, 'close'), once(two, 'close')]);
  await one.close(4000, 'bye');
  expect(await closes).toEqual([
    [4000, 'bye'],
    [4000, 'bye'],
  ]);
  expect(two.closed).toBe(true);
  expect(pool.connections.size).toBe(0);
});
