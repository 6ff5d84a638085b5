import { expect, test } from 'vitest';
import { Connection, ConnectionsPool, type WebSocketMessage } from '../../src/index.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';

/** Replaces `send` on one instance, as JavaScript can. */
function mark(connection: Connection): void {
  const send = connection.send.bind(connection);
  Object.assign(connection, { send: (message: string) => send(`<${message}>`) });
}

// `send` was only compared in the base constructor, before class fields exist: broadcasts went past such a `send`.
test('a send that is a class field gets broadcasts and private messages', async () => {
  class Marked extends Connection<string, WebSocketMessage, MemorySocket> {
    constructor(socket: MemorySocket) {
      super('1', 'default', socket);
      // What a field initializer does; TypeScript does not allow the field itself.
      mark(this);
    }
  }
  const pool = new ConnectionsPool<WebSocketMessage, Marked>();
  const socket = new MemorySocket();
  const connection = new Marked(socket);
  await pool.newConnection(connection);
  await Promise.all([
    pool.broadcastMessage('default', 'a'),
    connection.send('b'),
    pool.broadcastJsonMessage('default', 'c'),
    connection.sendJson('d'),
    pool.broadcastError('default', 'e'),
  ]);
  expect(socket.sent).toEqual(['<a>', '<b>', '<"c">', '<"d">', '<e>']);
});

test('a send that is set on the instance before it joins gets broadcasts', async () => {
  const pool = new ConnectionsPool();
  const { connection, socket } = connectInMemory();
  mark(connection);
  await pool.newConnection(connection);
  await pool.broadcastMessage('default', 'a');
  expect(socket.sent).toEqual(['<a>']);
});

// A relay that overrides broadcastMessage missed what the other broadcast methods sent.
test('an overridden broadcastMessage gets broadcastJsonMessage and broadcastError too', async () => {
  const relayed: unknown[] = [];
  class Relay extends ConnectionsPool {
    override broadcastMessage(namespace: string, message: WebSocketMessage, exceptions?: Iterable<string>) {
      relayed.push(message);
      return super.broadcastMessage(namespace, message, exceptions);
    }
  }
  const pool = new Relay();
  const { connection, socket } = connectInMemory();
  await pool.newConnection(connection);
  await pool.broadcastMessage('default', 'a');
  await pool.broadcastJsonMessage('default', { b: 1 });
  await pool.broadcastError('default', 'c');
  await pool.broadcastError('default', { d: 1 }, 4000);
  expect(relayed).toEqual(['a', '{"b":1}', 'c', '{"d":1}']);
  expect(socket.sent).toEqual(relayed);
});
