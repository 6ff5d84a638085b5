import { describe, expect, expectTypeOf, test } from 'vitest';
import type { WebSocket } from 'ws';
import {
  CloseCode,
  Connection,
  ConnectionsError,
  ConnectionsPool,
  type BroadcastResult,
  type ConnectionsErrorCode,
  type DrainReport,
  type IConnection,
  type IConnectionsPool,
  type NativeConnectionHandlers,
  type NativeWebsocket,
  type PoolStats,
  type RemoteConnection,
  type WebSocketMessage,
} from '../src/index.js';

/*
 * Checked by the compiler: a `@ts-expect-error` is itself an error if the line after it compiles. The functions that
 * are passed to `compiles` never run.
 */
const compiles = (_calls: (...args: never[]) => unknown): void => {
  expect.assertions(0);
};

/* eslint-disable @typescript-eslint/no-unsafe-class-instance-assignment -- it objects to what must not compile */

/** A message type that a subclass narrows to. */
interface Chat {
  readonly text: string;
}

declare const socket: WebSocket;
declare const connection: Connection;
declare const texts: Connection<number, string, WebSocket>;
declare const chats: Connection<string, Chat>;
declare const pool: ConnectionsPool;
declare const numbered: ConnectionsPool<string, Connection<number, string, WebSocket>>;

describe('Connection', () => {
  test('a connection takes a socket, and handlers for messages of its type', () => {
    compiles(() => {
      new Connection('1', 'a', socket);
      new Connection(1, 'a', socket);
      new Connection(1n, 'a', { send: () => undefined, close: () => undefined });
      new Connection<string, Chat>('1', 'a', {}, { send: (chat) => chat.text, close: () => undefined });
      // @ts-expect-error -- a namespace is a string
      new Connection('1', 5, socket);
      // @ts-expect-error -- a socket is needed
      new Connection('1', 'a');
      // @ts-expect-error -- handlers need close
      new Connection('1', 'a', socket, { send: () => undefined });
      // @ts-expect-error -- handlers need send
      new Connection('1', 'a', socket, { close: () => undefined });
      new Connection<string, Chat>(
        '1',
        'a',
        {},
        {
          // @ts-expect-error -- a chat has no such field
          send: (chat) => chat.subject as unknown,
          close: () => undefined,
        },
      );
    });
  });

  test('a connection has the types of its parameters, in the order of the original', () => {
    compiles(() => {
      expectTypeOf(new Connection('1', 'a', socket)).toEqualTypeOf<
        Connection<string, WebSocketMessage, WebSocket>
      >();
      expectTypeOf(connection.id).toEqualTypeOf<string>();
      expectTypeOf(texts.id).toEqualTypeOf<number>();
      expectTypeOf(texts.connection).toEqualTypeOf<WebSocket>();
      expectTypeOf(connection.connection).toEqualTypeOf<NativeWebsocket>();
      expectTypeOf(chats.handlers).toEqualTypeOf<NativeConnectionHandlers<Chat> | undefined>();
      expectTypeOf(connection.closed).toEqualTypeOf<boolean>();
      expectTypeOf(connection.bufferedAmount).toEqualTypeOf<number>();
      expectTypeOf(texts.toRemote()).toEqualTypeOf<RemoteConnection<number>>();
      expectTypeOf(connection).toExtend<IConnection>();
      expectTypeOf(texts).toExtend<IConnection<number, string, WebSocket>>();
    });
  });

  test('the fields of a connection are read-only', () => {
    compiles(() => {
      // @ts-expect-error -- the registry finds it by its id
      connection.id = '2';
      // @ts-expect-error -- the registry finds it by its namespace
      connection.namespace = 'b';
      // @ts-expect-error -- reported by the socket
      connection.closed = true;
      // @ts-expect-error -- reported by the socket
      connection.bufferedAmount = 0;
    });
  });

  test('a connection sends what a WebSocket takes, or what it was narrowed to', () => {
    compiles(() => {
      expectTypeOf(connection.send('text')).toEqualTypeOf<Promise<boolean>>();
      void connection.send(new Uint8Array(1));
      void connection.send(Buffer.alloc(1));
      void connection.send(new ArrayBuffer(1));
      void connection.send(new DataView(new ArrayBuffer(1)));
      void connection.send(new Blob([]));
      // @ts-expect-error -- a number
      void connection.send(5);
      // @ts-expect-error -- an object needs sendJson
      void connection.send({ a: 1 });
      // @ts-expect-error -- nothing
      void connection.send();
      // @ts-expect-error -- undefined
      void connection.send(undefined);
      // @ts-expect-error -- a number
      void connection.sendThenClose(5);
      void connection.sendJson({ any: ['value', 5, null] });
      void connection.sendError({ any: 'value' });

      void texts.send('text');
      // @ts-expect-error -- narrowed to text
      void texts.send(Buffer.alloc(1));
      // @ts-expect-error -- narrowed to text
      void texts.sendThenClose(new Uint8Array(1));
      void chats.send({ text: 'hello' });
      // @ts-expect-error -- narrowed to chats
      void chats.send('hello');
      // @ts-expect-error -- narrowed to chats
      void chats.send({ txt: 'hello' });
    });
  });

  test('a connection closes with a number and a text', () => {
    compiles(() => {
      expectTypeOf(connection.close(CloseCode.GoingAway, 'bye')).toEqualTypeOf<Promise<void>>();
      // @ts-expect-error -- a code is a number
      void connection.close('1000');
      // @ts-expect-error -- a reason is a string
      void connection.close(1000, 5);
      // @ts-expect-error -- a reason without a code
      void connection.close('bye');
      // @ts-expect-error -- a code is a number
      void connection.sendErrorThenClose('x', '1000');
      // @ts-expect-error -- a code is a number
      void connection.sendError('x', 'reason');
    });
  });

  test('a connection has typed events', () => {
    compiles(() => {
      connection.on('message', (message, isBinary) => {
        expectTypeOf(message).toEqualTypeOf<string | Uint8Array>();
        expectTypeOf(isBinary).toEqualTypeOf<boolean>();
      });
      connection.on('close', (code, reason) => {
        expectTypeOf(code).toEqualTypeOf<number>();
        expectTypeOf(reason).toEqualTypeOf<string>();
      });
      connection.once('error', (error) => expectTypeOf(error).toEqualTypeOf<Error>());
      connection.on('drain', () => undefined);
      connection.on('pong', () => undefined);
      // @ts-expect-error -- no such event
      connection.on('mesage', () => undefined);
      // @ts-expect-error -- no such event
      connection.once('open', () => undefined);
      // @ts-expect-error -- a message is not a number
      connection.on('message', (message: number) => message);
      // @ts-expect-error -- a message may be bytes
      connection.on('message', (message: string) => message);
      // @ts-expect-error -- a code is not text
      connection.on('close', (code: string) => code);
      // @ts-expect-error -- drain has no argument
      connection.on('drain', (bytes: number) => bytes);
      // @ts-expect-error -- a listener is a function
      connection.on('message', 'listener');
    });
  });
});

describe('ConnectionsPool', () => {
  test('a pool takes options that exist', () => {
    compiles(() => {
      new ConnectionsPool();
      new ConnectionsPool({ onDuplicate: 'replace', idleTimeout: 1, closeTimeout: 1, maxBufferedBytes: 1 });
      // An option may be given as `undefined`, as in `{ idleTimeout: settings.idleMs }`.
      new ConnectionsPool({ idleTimeout: undefined, heartbeat: { interval: undefined }, onSlow: undefined });
      new ConnectionsPool({
        onSlow: (slow, { byteLength }) => (slow.id === '1' && byteLength > 5 ? 'drop' : 'close'),
      });
      // @ts-expect-error -- no such option
      new ConnectionsPool({ onDuplicates: 'replace' });
      // @ts-expect-error -- no such policy
      new ConnectionsPool({ onDuplicate: 'replce' });
      // @ts-expect-error -- a number of ms
      new ConnectionsPool({ idleTimeout: '120s' });
      // @ts-expect-error -- no such policy
      new ConnectionsPool({ onSlow: 'ignore' });
      // @ts-expect-error -- no such decision
      new ConnectionsPool({ onSlow: () => 'ignore' });
      // @ts-expect-error -- a pool is not an option
      new ConnectionsPool(null);
    });
  });

  test('a pool holds connections of its type', () => {
    compiles(() => {
      expectTypeOf(pool.connections).toEqualTypeOf<Map<string, Map<string, Connection>>>();
      expectTypeOf(pool.getConnection('a', '1')).toEqualTypeOf<Connection | undefined>();
      expectTypeOf(numbered.getConnection('a', 1)?.connection).toEqualTypeOf<WebSocket | undefined>();
      expectTypeOf(pool.namespace('a')).toEqualTypeOf<Map<string, Connection>>();
      expectTypeOf(pool.draining).toEqualTypeOf<boolean>();
      expectTypeOf(pool.stats()).toEqualTypeOf<PoolStats>();
      expectTypeOf(pool).toExtend<IConnectionsPool>();
      // As the original's README has it: the type of the socket does not matter to a pool that names none.
      void pool.newConnection(new Connection('1', 'a', socket));
      // @ts-expect-error -- ids are strings here
      void pool.newConnection(new Connection(1, 'a', socket));
      // @ts-expect-error -- a socket is not a connection
      void pool.newConnection(socket);
      // @ts-expect-error -- ids are numbers here
      void numbered.newConnection(connection);
      // @ts-expect-error -- a pool holds connections
      new ConnectionsPool<string, WebSocket>();
      // @ts-expect-error -- reported by the pool
      pool.draining = true;
    });
  });

  test('a pool finds connections by ids of its type', () => {
    compiles(() => {
      pool.getConnection('a', '1');
      // @ts-expect-error -- ids are strings here
      pool.getConnection('a', 1);
      // @ts-expect-error -- ids are numbers here
      numbered.getConnection('a', '1');
      // @ts-expect-error -- a namespace is a string
      pool.namespace(5);
      // @ts-expect-error -- an id is needed
      pool.getConnection('a');
    });
  });

  test('a pool sends messages of its type to ids of its type', () => {
    compiles(() => {
      expectTypeOf(pool.send('a', '1', 'x')).toEqualTypeOf<Promise<boolean>>();
      expectTypeOf(numbered.send('a', 1, 'x')).toEqualTypeOf<Promise<boolean>>();
      // @ts-expect-error -- ids are strings here
      void pool.send('a', 1, 'x');
      // @ts-expect-error -- ids are numbers here
      void numbered.send('a', '1', 'x');
      // @ts-expect-error -- ids are numbers here
      void numbered.sendJson('a', '1', {});
      // @ts-expect-error -- ids are numbers here
      void numbered.close('a', '1');
      // @ts-expect-error -- a number is not a message
      void pool.send('a', '1', 5);
      // @ts-expect-error -- narrowed to text
      void numbered.send('a', 1, Buffer.alloc(1));
      // @ts-expect-error -- the message is missing
      void pool.send('a', '1');
    });
  });

  test('a pool broadcasts messages of its type, with ids of its type as exceptions', () => {
    compiles(() => {
      expectTypeOf(pool.broadcastMessage('a', 'x', ['1'])).toEqualTypeOf<Promise<BroadcastResult>>();
      void pool.broadcastMessage('a', 'x', new Set(['1']));
      void numbered.broadcastJsonMessage('a', {}, new Map([[1, 'x']]).keys());
      void pool.broadcastError('a', { any: 'value' }, 4000, 'reason', ['1']);
      // @ts-expect-error -- a number is not a message
      void pool.broadcastMessage('a', 5);
      // @ts-expect-error -- narrowed to text
      void numbered.broadcastMessage('a', Buffer.alloc(1));
      // @ts-expect-error -- ids are strings here
      void pool.broadcastMessage('a', 'x', [1]);
      // @ts-expect-error -- ids are numbers here
      void numbered.broadcastMessage('a', 'x', ['1']);
      // @ts-expect-error -- one id is not a list of ids
      void numbered.broadcastMessage('a', 'x', 1);
      // @ts-expect-error -- ids are numbers here
      void numbered.broadcastJsonMessage('a', 'x', new Set(['1']));
      // @ts-expect-error -- ids are numbers here
      void numbered.broadcastError('a', 'x', 4000, '', ['1']);
      void pool.broadcastMessage('a', 'x').then((result) => {
        // @ts-expect-error -- counts are read-only
        result.sent = 5;
      });
    });
  });

  test('a pool drains at a rate or by options', () => {
    compiles(() => {
      expectTypeOf(pool.drainConnections()).toEqualTypeOf<Promise<DrainReport>>();
      expectTypeOf(pool.drainConnections(10, 'reason', 1000)).toEqualTypeOf<Promise<DrainReport>>();
      expectTypeOf(pool.drainConnections({ maxPerSecond: 10 })).toEqualTypeOf<Promise<DrainReport>>();
      // @ts-expect-error -- a rate is a number
      void pool.drainConnections('10');
      // @ts-expect-error -- the reason comes first
      void pool.drainConnections(10, 1000, 'reason');
      void pool.drainConnections({ sockets: new Set([socket]) });
      // @ts-expect-error -- no such option
      void pool.drainConnections({ perSecond: 10 });
    });
  });

  test('a pool has typed events', () => {
    compiles(() => {
      numbered.on('connection', (joined) => {
        expectTypeOf(joined).toEqualTypeOf<Connection<number, string, WebSocket>>();
      });
      pool.on('disconnection', (left, code, reason) => {
        expectTypeOf(left).toEqualTypeOf<Connection>();
        expectTypeOf(code).toEqualTypeOf<number | undefined>();
        expectTypeOf(reason).toEqualTypeOf<string>();
      });
      pool.on('emptyNamespace', (namespace) => expectTypeOf(namespace).toEqualTypeOf<string>());
      pool.on('slow', (_slow, bytes) => expectTypeOf(bytes).toEqualTypeOf<number>());
      pool.on('drain', (report) => expectTypeOf(report).toEqualTypeOf<DrainReport>());
      pool.on('error', (error, failed) => {
        expectTypeOf(error).toEqualTypeOf<Error>();
        expectTypeOf(failed).toEqualTypeOf<Connection | undefined>();
      });
      pool.on('refused', (refused, { code }) => {
        expectTypeOf(refused).toEqualTypeOf<Connection>();
        expectTypeOf(code).toEqualTypeOf<ConnectionsErrorCode>();
      });
      // @ts-expect-error -- no such event
      pool.on('connect', () => undefined);
      // @ts-expect-error -- a connection is not an id
      pool.on('connection', (id: string) => id);
      // @ts-expect-error -- there may be no code
      pool.on('disconnection', (_connection, code: number) => code);
      // @ts-expect-error -- a name, not a map
      pool.on('emptyNamespace', (namespace: Map<string, Connection>) => namespace);
    });
  });

  test('removeConnection takes a callback for the empty namespace, and nothing else', () => {
    compiles(() => {
      void pool.removeConnection(connection, () => undefined);
      void pool.removeConnection(connection, async () => Promise.resolve());
      // @ts-expect-error -- no callback
      void pool.removeConnection(connection, 'callback');
      // @ts-expect-error -- it gets no arguments
      void pool.removeConnection(connection, (namespace: string) => namespace);
      // @ts-expect-error -- an id is not a connection
      void pool.removeConnection('1');
    });
  });
});

describe('subclasses', () => {
  test('a subclass that narrows its messages and overrides methods fits a pool', () => {
    class Player extends Connection<number, string, WebSocket> {
      score = 0;

      override send(message: string): Promise<boolean> {
        return super.send(message);
      }

      override toRemote(instanceId?: string): RemoteConnection<number> & { readonly score: number } {
        return { ...super.toRemote(instanceId), score: this.score };
      }
    }
    compiles((lobby: ConnectionsPool<string, Player>) => {
      expectTypeOf(lobby.getConnection('game', 1)?.score).toEqualTypeOf<number | undefined>();
      expectTypeOf(lobby.getConnection('game', 1)?.toRemote().score).toEqualTypeOf<number | undefined>();
      lobby.on('connection', (player) => expectTypeOf(player).toEqualTypeOf<Player>());
      // @ts-expect-error -- a plain connection is not a player
      void lobby.newConnection(texts);
    });
  });

  test('a subclass cannot change what a method promises', () => {
    compiles(() => {
      class Wrong extends Connection {
        // @ts-expect-error -- callers await a boolean
        override send(message: WebSocketMessage): Promise<string> {
          return Promise.resolve(typeof message);
        }

        // @ts-expect-error -- callers pass a number
        override close(code?: string): Promise<void> {
          return super.close(Number(code));
        }
      }
      return Wrong;
    });
  });
});

test('the code of an error is one of a known set', () => {
  const error = new ConnectionsError('ERR_DUPLICATE_CONNECTION', 'taken');
  expectTypeOf(error.code).toEqualTypeOf<ConnectionsErrorCode>();
  expect(error).toMatchObject({ name: 'ConnectionsError', code: 'ERR_DUPLICATE_CONNECTION' });
  // @ts-expect-error -- no such code
  expect(new ConnectionsError('ERR_OTHER', 'x')).toBeInstanceOf(Error);
});
