import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Connection, ConnectionsPool, type NativeWebsocket } from '../../src/index.js';
import { digest, endTurn, spyWrites } from '../support/engine.js';
import { Client, Loopback } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { poolOf } from '../support/pool-of.js';
import { tlsFixture } from '../support/tls-fixture.js';

const SHARED = { perMessageDeflate: { serverNoContextTakeover: true, threshold: 0 } };
const ONE_SENT = { recipients: 1, sent: 1, dropped: 0, failed: 0, conflated: 0 };

/** The socket with one member hidden, or replaced. */
function without(socket: WebSocket, path: readonly string[], replacement: unknown): NativeWebsocket {
  const [name] = path as [string];
  return new Proxy(socket, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (key === name && path.length === 1) return replacement;
      if (typeof value === 'function') return value.bind(target) as unknown;
      return key === name ? without(value as WebSocket, path.slice(1), replacement) : value;
    },
  });
}

const internals = [
  ['_socket'],
  ['_socket', 'write'],
  ['_socket', 'cork'],
  ['_socket', 'uncork'],
  ['_socket', 'once'],
  ['_socket', 'writableLength'],
  ['_isServer'],
  ['_sender'],
  ['_sender', '_firstFragment'],
  ['_sender', '_queue'],
  ['_sender', '_bufferedBytes'],
  ['_sender', '_state'],
  ['_sender', '_extensions'],
  ['_sender', '_extensions', 'permessage-deflate', 'params'],
  ['_sender', '_extensions', 'permessage-deflate', '_options'],
  ['_sender', '_extensions', 'permessage-deflate', '_threshold'],
].flatMap((path) =>
  [undefined, null].map((value) => [`${path.join('.')} is ${value}`, path, value] as const),
);

test('client sockets mask their frames, through their own send', async () => {
  const loopback = await Loopback.start();
  const { client, socket } = await loopback.pair();
  const received = new Client(socket);
  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', client.socket);
  await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1');
  void connection.send('private');
  void pool.broadcastMessage('default', Buffer.from('2'));
  expect(await received.exactly(3)).toEqual(['1', 'private', Buffer.from('2')]);
});

test('TLS sockets are written to directly, once per turn', async () => {
  const https = createServer(tlsFixture).listen(0, '127.0.0.1');
  await once(https, 'listening');
  const server = new WebSocketServer({ server: https });
  onTestFinished(() => {
    for (const socket of server.clients) socket.terminate();
    https.close();
  });
  const accepted = once(server, 'connection');
  const { port } = https.address() as AddressInfo;
  const client = new Client(new WebSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false }));
  const [socket] = (await accepted) as [WebSocket];
  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  const writes = spyWrites(socket);
  const large = Buffer.alloc(1_000_000, 5);
  for (const text of ['1', '2', '3']) void pool.broadcastMessage('default', text);
  await endTurn();
  expect(writes).toHaveLength(1);
  void pool.broadcastMessage('default', large);
  void connection.send('private');
  expect((await client.exactly(5)).map(digest)).toEqual(['1', '2', '3', large, 'private'].map(digest));
});

// If some of these were null, or missing from the extension, the constructor threw.
test.each(internals)('a ws where %s gets everything through its public send', async (_, path, value) => {
  const loopback = await Loopback.start(SHARED);
  const { client, socket } = await loopback.pair();
  const send = vi.spyOn(socket, 'send');
  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', without(socket, path, value));
  await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1');
  void connection.send('private');
  const result = pool.broadcastMessage('default', '2');
  expect(await client.exactly(3)).toEqual(['1', 'private', '2']);
  expect(await result).toEqual(ONE_SENT);
  expect(send).toHaveBeenCalledTimes(3);
});

test('a ws with all of its internals never sees its public send called', async () => {
  const {
    pool,
    members: [{ client, socket, connection }],
  } = await poolOf(1, { server: SHARED });
  const send = vi.spyOn(socket, 'send');
  void pool.broadcastMessage('default', '1');
  void connection.send('private');
  void pool.broadcastMessage('default', '2');
  expect(await client.exactly(3)).toEqual(['1', 'private', '2']);
  expect(send).not.toHaveBeenCalled();
});

// A subclass of `ws` that seals its messages was bypassed: the client got the plain text.
test('a subclass of ws with a send of its own sees every message', async () => {
  class Sealed extends WebSocket {
    override send(data: unknown, ...rest: unknown[]): void {
      (super.send as (...args: unknown[]) => void)(`sealed: ${String(data)}`, ...rest);
    }
  }
  const {
    pool,
    members: [{ client, connection }],
  } = await poolOf(1, { server: { ...SHARED, WebSocket: Sealed } });
  void pool.broadcastMessage('default', '1');
  void connection.send('private');
  expect(await pool.broadcastMessage('default', '2')).toEqual(ONE_SENT);
  expect(await client.exactly(3)).toEqual(['sealed: 1', 'sealed: private', 'sealed: 2']);
});

test('a ws whose send was patched before it joined sees every message', async () => {
  const { client, socket } = await (await Loopback.start(SHARED)).pair();
  const seen: unknown[] = [];
  const send = socket.send.bind(socket) as (...args: unknown[]) => void;
  socket.send = (...args: unknown[]) => {
    seen.push(args[0]);
    send(...args);
  };
  const pool = new ConnectionsPool();
  const connection = new Connection('1', 'default', socket);
  await pool.newConnection(connection);
  void pool.broadcastMessage('default', '1');
  void connection.send('private');
  expect(await client.exactly(2)).toEqual(['1', 'private']);
  expect(seen.map(String)).toEqual(['1', 'private']);
});
