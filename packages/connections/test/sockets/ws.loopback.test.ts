import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection } from '../../src/index.js';
import { driverOf } from '../../src/sockets/probe.js';
import { WsDriver, type WsSocket } from '../../src/sockets/ws.js';
import { Loopback } from '../support/loopback.js';
import { nextMessage, record } from '../support/record.js';

test('a server socket of ws has every capability but cork', async () => {
  const { connection } = await (await Loopback.start()).connect('1');
  expect(connection.capabilities).toEqual({
    events: 'emitter',
    terminate: true,
    ping: true,
    bufferedAmount: true,
    readyState: true,
    cork: false,
    pause: true,
  });
});

test('a client socket of ws sends masked frames, receives and closes', async () => {
  const { client, socket: peer } = await (await Loopback.start()).pair();
  const connection = new Connection('1', 'default', client.socket);

  peer.send('to the client');
  expect(await nextMessage(connection)).toEqual(['to the client', false]);

  // A client has to mask its frames (RFC 6455 §5.3): the server would end the connection otherwise.
  const received = once(peer, 'message');
  expect(await connection.send('to the server')).toBe(true);
  expect(String((await received)[0])).toBe('to the server');

  const closed = once(peer, 'close');
  await connection.close(4000, 'bye');
  expect(await closed).toEqual([4000, Buffer.from('bye')]);
});

test('a client socket that is still connecting sends nothing, and works once it is open', async () => {
  const { url, server } = await Loopback.start();
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const socket = new WebSocket(url);
  const connection = new Connection('1', 'default', socket);
  const events = record(connection);

  expect(connection.closed).toBe(false);
  expect(await connection.send('too early')).toBe(false);
  expect(events).toEqual([['error', expect.any(Error)]]);

  const [[peer]] = await Promise.all([accepted, once(socket, 'open')]);
  const received = once(peer, 'message');
  expect(await connection.send('now')).toBe(true);
  expect(String((await received)[0])).toBe('now');
});

test('a client socket that is still connecting can be closed and terminated', async () => {
  const { url } = await Loopback.start();
  for (const end of ['close', 'terminate'] as const) {
    const connection = new Connection('1', 'default', new WebSocket(url));
    const closed = new Promise((resolve) => connection.on('close', (...args) => resolve(args)));
    void connection[end]();
    expect(connection.closed).toBe(true);
    expect(await closed).toEqual([1006, '']);
  }
});

// Node's `bytesWritten` adds up all waiting writes each time it is read: thousands of them for a stalled reader.
test('the bytes written to a ws socket are counted without adding up each waiting write', async () => {
  const { client, socket } = await (await Loopback.start()).pair();
  client.socket.pause();
  const ws = socket as unknown as WsSocket;
  const driver = driverOf(socket, undefined);
  if (!(driver instanceof WsDriver)) throw new Error('The driver of ws was expected');
  const figures: [counted: number, publicFigure: number][] = [];
  for (let i = 0; i < 100; i++) {
    socket.send(Buffer.alloc(100_000 + i));
    figures.push([driver.bytesGiven(ws), ws._socket.bytesWritten]);
    // Some of them are sent meanwhile.
    if (i % 10 === 0) await nextTurn();
  }
  expect(ws._socket.writableLength).toBeGreaterThan(0);
  expect(figures.map(([counted]) => counted)).toEqual(figures.map(([, publicFigure]) => publicFigure));
  const publicFigure = vi.spyOn(ws._socket as { bytesWritten: number }, 'bytesWritten', 'get');
  driver.bytesGiven(ws);
  expect(publicFigure).not.toHaveBeenCalled();
});
