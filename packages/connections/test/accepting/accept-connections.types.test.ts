import type { IncomingMessage } from 'node:http';
import { describe, expectTypeOf, test } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import {
  acceptConnections,
  Connection,
  ConnectionsPool,
  type Acceptor,
  type AcceptOptions,
  type Answer,
  type Identity,
  type Refusal,
} from '../../src/index.js';
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
      // @ts-expect-error a plain Connection is not a Member
      acceptConnections({
        ...options,
        authenticate: () => ({ id: 'a', namespace: 'n', data: { name: 'Ada' } }),
        // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- that is the mistake
        createConnection: ({ id, namespace }, socket) => new Connection(id, namespace, socket),
      }),
    );
  });

  // `Identity` had optional data, so that a function with this type was refused where an inline one was accepted.
  test('the types accept an authenticate that is declared as a function of its own', () => {
    const pool = new ConnectionsPool<string, Connection<string, string, WebSocket, User>>();
    const options = { server, webSocketServer, pool };
    const find = (_: IncomingMessage): Promise<Identity<string, User> | Refusal> =>
      Promise.resolve({ id: 'a', namespace: 'n', data: { name: 'Ada' } });
    const ask = (_: IncomingMessage): Answer<string, User> => false;
    unused(() => acceptConnections({ ...options, authenticate: find }));
    unused(() => acceptConnections({ ...options, authenticate: ask }));
    unused(() =>
      acceptConnections({
        ...options,
        authenticate: find,
        createConnection: ({ id, namespace, data }, socket) => {
          expectTypeOf(data).toEqualTypeOf<User>();
          return new Connection<string, string, WebSocket, User>(id, namespace, socket);
        },
      }),
    );
    expectTypeOf<Identity<string, User>['data']>().toEqualTypeOf<User>();
    expectTypeOf<Identity<string>['data']>().toEqualTypeOf<unknown>();
    // @ts-expect-error a User is required
    const without: Identity<string, User> = { id: 'a', namespace: 'n' };
    const plain: Identity = { ...without, id: 5 };
    expectTypeOf(plain.id).toEqualTypeOf<unknown>();
  });

  test('the types of the options need no arguments for a pool of plain connections', () => {
    const pool = new ConnectionsPool();
    const common: Pick<AcceptOptions, 'path' | 'origins' | 'maxPer'> = {
      path: '/ws',
      origins: ['https://app.example'],
      maxPer: { key: (_request, identity) => identity?.id, limit: 2 },
    };
    expectTypeOf<AcceptOptions['origins']>().toEqualTypeOf<readonly string[] | undefined>();
    const authenticate: AcceptOptions['authenticate'] = () => ({ id: 'a', namespace: 'n' });
    unused(() => acceptConnections({ ...common, server, webSocketServer, pool, authenticate }));
    const options: AcceptOptions<WebSocket> = { ...common, server, webSocketServer, pool, authenticate };
    unused(() => acceptConnections(options));
  });

  // It compiled, and `data.name` read from undefined.
  test('the types require the data of the pool of authenticate with createConnection too', () => {
    const pool = new ConnectionsPool<string, Member>();
    const options = { server, webSocketServer, pool };
    unused(() =>
      acceptConnections({
        ...options,
        // @ts-expect-error there is no data
        authenticate: () => ({ id: 'a', namespace: 'n' }),
        createConnection: (_identity, socket) => new Member('a', 'n', socket),
      }),
    );
    unused(() =>
      acceptConnections({
        ...options,
        // @ts-expect-error data of another type
        authenticate: () => Promise.resolve({ id: 'a', namespace: 'n', data: { name: 5 } }),
        createConnection: (_identity, socket) => new Member('a', 'n', socket),
      }),
    );
    // The connection may have another id than the identity.
    unused(() =>
      acceptConnections({
        ...options,
        authenticate: () => ({ id: 5, namespace: 'n', data: { name: 'Ada' } }),
        createConnection: ({ id }, socket) => new Member(String(id), 'n', socket),
      }),
    );
  });
});
