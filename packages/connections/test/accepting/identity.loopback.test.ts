import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, test } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { acceptConnections, Connection, ConnectionsPool } from '../../src/index.js';
import { anybody, listen, openClient, refusalOf, startAccepting } from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';

failOnUncaught();

interface User {
  readonly name: string;
}

class Member extends Connection<string, string, WebSocket, User> {
  readonly path: string | undefined;

  constructor(id: string, socket: WebSocket, path: string | undefined) {
    super(id, 'members', socket);
    this.path = path;
  }
}

describe('createConnection', () => {
  test('createConnection may make a subclass, whose data is that of the identity', async () => {
    const pool = new ConnectionsPool<string, Member>();
    const server = createServer();
    acceptConnections({
      server,
      webSocketServer: new WebSocketServer({ noServer: true }),
      pool,
      authenticate: () => Promise.resolve({ id: 'a', namespace: 'ignored', data: { name: 'Ada' } }),
      createConnection: ({ id }, socket, request) => new Member(id, socket, request.url),
    });
    const client = await openClient(`ws://127.0.0.1:${await listen(server)}/ada`);
    const member = pool.getConnection('members', 'a')!;
    expect(member).toBeInstanceOf(Member);
    expect([member.path, member.data.name]).toEqual(['/ada', 'Ada']);
    await member.send('hello');
    expect(await client.exactly(1)).toEqual(['hello']);
  });

  test('createConnection may assign data itself', async () => {
    const { url, pool } = await startAccepting({
      accept: {
        authenticate: () => ({ id: 'a', namespace: 'n', data: 'of the identity' }),
        createConnection: (identity: { id: string }, socket: WebSocket) =>
          Object.assign(new Connection(identity.id, 'n', socket), { data: 'of its own' }),
      },
    });
    await openClient(url);
    expect(pool.getConnection('n', 'a')!.data).toBe('of its own');
  });
});

describe('an identity', () => {
  test.each([
    ['a name', 'lobby', ['lobby']],
    ['names', new Set(['a', 'b']), ['a', 'b']],
    ['nothing', undefined, []],
  ])('an identity with %s as rooms is in them before the connection event', async (_, rooms, expected) => {
    const { url, pool } = await startAccepting({
      accept: { authenticate: () => ({ id: 'a', namespace: 'n', rooms }) },
    });
    let seen: string[] | undefined;
    pool.on('connection', (connection) => {
      seen = [...connection.rooms];
    });
    await openClient(url);
    expect(seen).toEqual(expected);
    expect([...pool.rooms('n').keys()]).toEqual(expected);
  });

  test('an identity with too many rooms is closed with 1011, and the pool emits the error', async () => {
    const { url, pool, errors } = await startAccepting({
      pool: { maxRoomsPerConnection: 1 },
      accept: { authenticate: () => ({ ...anybody(), rooms: ['a', 'b'] }) },
    });
    expect((await (await openClient(url)).closed).code).toBe(1011);
    expect(errors).toMatchObject([{ code: 'ERR_TOO_MANY_ROOMS' }]);
    expect(pool.stats().connections).toBe(0);
  });

  test.each([0, '', 5n])('an identity may have %o as its id', async (id) => {
    const { url, pool } = await startAccepting({ accept: { authenticate: () => ({ id, namespace: '' }) } });
    await openClient(url);
    expect(pool.getConnection('', id as never)).toBeDefined();
  });

  test('an identity whose id is taken is closed with 1013 by the pool, and is not counted', async () => {
    const { url, pool, acceptor } = await startAccepting({
      accept: { authenticate: () => ({ id: 'a', namespace: 'n' }) },
    });
    await openClient(url);
    const refused = once(pool, 'refused');
    const second = await openClient(url);
    expect(await refused).toMatchObject({ 1: { code: 'ERR_DUPLICATE_CONNECTION' } });
    expect((await second.closed).code).toBe(1013);
    await expect.poll(() => acceptor.clients).toBe(1);
  });
});

describe('no header of a proxy is trusted', () => {
  test('an origin is compared with the Host header, not with headers of a proxy', async () => {
    const { url } = await startAccepting();
    const headers = {
      Origin: 'https://evil.example',
      'X-Forwarded-Host': 'evil.example',
      Forwarded: 'host=evil.example',
    };
    expect((await refusalOf(url, { headers })).status).toBe(403);
  });
});
