import { expect, expectTypeOf, test } from 'vitest';
import {
  Connection,
  ConnectionsPool,
  type ConnectionOf,
  type NativeWebsocket,
  type WebSocketMessage,
} from '../src/index.js';
import { MemorySocket } from './support/memory-socket.js';

interface Player {
  readonly name: string;
  score: number;
}

type Playing = Connection<string, WebSocketMessage, MemorySocket, Player>;

test('data has the type that the fourth parameter says, and is undefined until it is assigned', () => {
  const connection: Playing = new Connection('1', 'game', new MemorySocket());
  expectTypeOf(connection.data).toEqualTypeOf<Player>();
  expect(connection.data).toBeUndefined();
  connection.data = { name: 'Ada', score: 0 };
  connection.data.score++;
  // @ts-expect-error -- no Player
  expect(() => (connection.data = { name: 5 })).not.toThrow();
});

test('the pool hands out connections with the type of their data', async () => {
  const pool = new ConnectionsPool<WebSocketMessage, Playing>({
    onSlow: ({ data }) => (data.score > 0 ? 'drop' : 'close'),
    rateLimit: { messagesPerSecond: 5, onExceeded: ({ data }) => (data.score > 0 ? 'drop' : 'close') },
  });
  const connection: Playing = new Connection('1', 'game', new MemorySocket());
  connection.data = { name: 'Ada', score: 1 };
  pool.on('connection', ({ data }) => expectTypeOf(data).toEqualTypeOf<Player>());
  await pool.newConnection(connection);
  expectTypeOf(pool.getConnection('game', '1')).toEqualTypeOf<Playing | undefined>();
  expect(pool.getConnection('game', '1')?.data.name).toBe('Ada');
});

test('code that names three parameters or fewer compiles as before, and its data is unknown', () => {
  const three: Connection<number, string, MemorySocket> = new Connection(1, 'game', new MemorySocket());
  const none: Connection = new Connection('1', 'game', new MemorySocket());
  expectTypeOf<Connection>().toEqualTypeOf<Connection>();
  expectTypeOf(three.data).toBeUnknown();
  expectTypeOf(none.data).toBeUnknown();
  none.data = { anything: true };
  expect(none.data).toEqual({ anything: true });
});

test('a subclass can narrow the type of its data', () => {
  class Member extends Connection<string, WebSocketMessage, NativeWebsocket, Player> {}
  class Guest extends Connection {
    declare data: { readonly since: number };
  }
  expectTypeOf<Member['data']>().toEqualTypeOf<Player>();
  const guest = new Guest('1', 'game', new MemorySocket());
  guest.data = { since: 5 };
  expect(guest.data.since).toBe(5);
});

test('ConnectionOf names the type of data only', () => {
  const connection: ConnectionOf<Player> = new Connection('1', 'game', new MemorySocket());
  expectTypeOf(connection.data).toEqualTypeOf<Player>();
  expectTypeOf(connection.id).toEqualTypeOf<string>();
  const pool = new ConnectionsPool<WebSocketMessage, ConnectionOf<Player>>();
  pool.on('connection', ({ data }) => expectTypeOf(data).toEqualTypeOf<Player>());
  expect(pool.getConnection('game', '1')?.data.name).toBeUndefined();
});
