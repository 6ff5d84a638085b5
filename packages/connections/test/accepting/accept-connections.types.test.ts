import type { IncomingMessage } from 'node:http';
import { describe, expectTypeOf, test } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { acceptConnections, Connection, ConnectionsPool, type Acceptor } from '../../src/index.js';
import { createServer } from 'node:http';

interface User {
  readonly name: string;
}

/** Never called: only the verdict of the compiler counts. */
const unused = (_: () => Acceptor): void => undefined;

const server = createServer();
const webSocketServer = new WebSocketServer({ noServer: true });

class Member extends Connection<string, string, WebSocket, User> {
  readonly joinedAtMs = 0;
}

describe('the types of acceptConnections', () => {
  test('the types infer the identity of createConnection from authenticate', () => {
    const pool = new ConnectionsPool<string, Member>();
    unused(() =>
      acceptConnections({
        server,
        webSocketServer,
        pool,
        authenticate: async (request, { signal }) => {
          expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
          await Promise.resolve();
          if (request.url === '/a') return undefined;
          if (request.url === '/b') return { status: 402 };
          return { id: 'a', namespace: 'n', data: { name: 'Ada', age: 36 } };
        },
        createConnection: (identity, socket, request) => {
          expectTypeOf(identity.data).toEqualTypeOf<{ name: string; age: number }>();
          expectTypeOf(identity.id).toEqualTypeOf<string>();
          expectTypeOf(socket).toEqualTypeOf<WebSocket>();
          expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
          return new Member(identity.id, identity.namespace, socket);
        },
        maxPer: { key: (_request, identity) => identity?.data.name, limit: 2 },
      }),
    );
  });

  test('the types allow a pool of plain connections without createConnection', () => {
    const pool = new ConnectionsPool();
    const options = { server, webSocketServer, pool };
    unused(() => acceptConnections({ ...options, authenticate: () => ({ id: 'a', namespace: 'n' }) }));
    unused(() =>
      acceptConnections({ ...options, authenticate: () => ({ id: 'a', namespace: 'n', data: 1 }) }),
    );
    unused(() => acceptConnections({ ...options, authenticate: () => false }));
    unused(() => acceptConnections({ ...options, authenticate: () => Promise.resolve(null) }));
    // @ts-expect-error the ids of this pool are strings
    unused(() => acceptConnections({ ...options, authenticate: () => ({ id: 1, namespace: 'n' }) }));
    // @ts-expect-error no namespace
    unused(() => acceptConnections({ ...options, authenticate: () => ({ id: 'a' }) }));
    // @ts-expect-error neither an identity nor a refusal
    unused(() => acceptConnections({ ...options, authenticate: () => true }));
  });

  test('the types require authenticate to give the data that the pool declares', () => {
    const pool = new ConnectionsPool<string, Connection<string, string, WebSocket, User>>();
    const options = { server, webSocketServer, pool };
    unused(() =>
      acceptConnections({
        ...options,
        authenticate: () => ({ id: 'a', namespace: 'n', data: { name: 'Ada' } }),
      }),
    );
    unused(() =>
      // @ts-expect-error data of another type
      acceptConnections({ ...options, authenticate: () => ({ id: 'a', namespace: 'n', data: { name: 1 } }) }),
    );
    // @ts-expect-error there is no data
    unused(() => acceptConnections({ ...options, authenticate: () => ({ id: 'a', namespace: 'n' }) }));
  });

  test('the types require createConnection for a pool of a subclass', () => {
    const pool = new ConnectionsPool<string, Member>();
    const options = { server, webSocketServer, pool };
    unused(() =>
      // @ts-expect-error a plain Connection is not a Member
      acceptConnections({
        ...options,
        authenticate: () => ({ id: 'a', namespace: 'n', data: { name: 'Ada' } }),
      }),
    );
    unused(() =>
      acceptConnections({
        ...options,
        authenticate: () => ({ id: 'a', namespace: 'n' }),
        // @ts-expect-error a plain Connection is not a Member
        // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- that is the mistake
        createConnection: ({ id, namespace }, socket) => new Connection(id, namespace, socket),
      }),
    );
  });
});
