import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { ConnectionsPool, refuseUpgrade } from '../../src/index.js';
import { acceptAny, anybody, listen, openClient, refusalOf, startAccepting } from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';

failOnUncaught();

describe('an acceptor with a path', () => {
  test('an acceptor with a path takes requests for it, whatever their query', async () => {
    const { url, acceptor } = await startAccepting({ accept: { path: '/ws' } });
    await openClient(`${url}/ws`);
    await openClient(`${url}/ws?token=/other`);
    expect(acceptor.clients).toBe(2);
  });

  test.each(['/', '/ws/', '/wss', '/WS', '/other?/ws', '//ws'])(
    'an acceptor with a path answers 404 for %s if nobody else listens',
    async (path) => {
      const { url, acceptor } = await startAccepting({ accept: { path: '/ws' } });
      expect((await refusalOf(url + path)).status).toBe(404);
      expect(acceptor.clients).toBe(0);
    },
  );

  test('an acceptor with a path leaves requests for other paths to other listeners', async () => {
    const { url, server } = await startAccepting({ accept: { path: '/ws' } });
    server.on('upgrade', (request, socket: Duplex) => {
      if (request.url !== '/ws') refuseUpgrade(socket, 418);
    });
    expect((await refusalOf(`${url}/hmr`)).status).toBe(418);
    await openClient(`${url}/ws`);
  });

  test('an acceptor may pick requests by a function', async () => {
    const path = vi.fn((request: { url?: string | undefined }) => request.url!.startsWith('/rooms/'));
    const { url } = await startAccepting({ accept: { path } });
    await openClient(`${url}/rooms/1`);
    expect((await refusalOf(`${url}/room`)).status).toBe(404);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('no path');
      },
    ],
    ['answers a promise, which would be true for every request,', () => Promise.resolve(false) as never],
  ])('an acceptor answers 500 if its path function %s and the pool emits the error', async (_, path) => {
    const { url, errors } = await startAccepting({ accept: { path } });
    expect((await refusalOf(url)).status).toBe(500);
    expect(errors).toMatchObject([{ message: expect.stringContaining('path') as unknown }]);
  });

  test('an acceptor emits the rejection of an async path function as an error event', async () => {
    const path = (): never => Promise.reject(new Error('lost')) as never;
    const { url, errors } = await startAccepting({ accept: { path } });
    expect((await refusalOf(url)).status).toBe(500);
    expect(errors).toMatchObject([
      { message: 'Expected path to answer true or false, got `Promise` (object)' },
      { message: 'lost' },
    ]);
  });
});

describe('two acceptors of one server', () => {
  test('two acceptors take their own paths, and answer other paths with one 404', async () => {
    const one = await startAccepting({ accept: { path: '/one' } });
    const pool = new ConnectionsPool();
    const webSocketServer = new WebSocketServer({ noServer: true });
    const { server, url } = one;
    const two = acceptAny({ server, webSocketServer, pool, path: '/two', authenticate: anybody });
    await openClient(`${url}/one`);
    await openClient(`${url}/two`);
    expect([one.acceptor.clients, two.clients]).toEqual([1, 1]);
    expect([one.pool.stats().connections, pool.stats().connections]).toEqual([1, 1]);
    expect((await refusalOf(`${url}/three`)).status).toBe(404);
    expect(server.listenerCount('upgrade')).toBe(1);
    two.detach();
    expect((await refusalOf(`${url}/two`)).status).toBe(404);
    await openClient(`${url}/one`);
  });

  test('two acceptors answer once if both would take the request', async () => {
    const { url, server, acceptor } = await startAccepting();
    const pool = new ConnectionsPool();
    const second = acceptAny({
      server,
      webSocketServer: new WebSocketServer({ noServer: true }),
      pool,
      authenticate: anybody,
    });
    await openClient(url);
    expect([acceptor.clients, second.clients]).toEqual([1, 0]);
  });
});

describe('detach', () => {
  test('detach leaves no listener on the server, and clients stay connected', async () => {
    const { url, server, acceptor, pool } = await startAccepting();
    const client = await openClient(url);
    acceptor.detach();
    acceptor.detach();
    expect(server.listenerCount('upgrade')).toBe(0);
    expect(pool.stats().connections).toBe(1);
    await client.roundTrip();
    client.socket.close();
    await expect.poll(() => acceptor.clients).toBe(0);
  });

  test('detach lets running lookups finish', async () => {
    let answer!: (identity: object) => void;
    const { url, acceptor } = await startAccepting({
      accept: { authenticate: () => new Promise((resolve) => (answer = resolve)) },
    });
    const opened = openClient(url);
    await expect.poll(() => acceptor.pending).toBe(1);
    acceptor.detach();
    answer(anybody());
    await opened;
    expect(acceptor.clients).toBe(1);
  });

  test('detach gives upgrades back to listeners that were added before and after', async () => {
    const server = createServer();
    const answerWith = (status: number) => (_request: unknown, socket: Duplex) =>
      refuseUpgrade(socket, status);
    const acceptor = acceptAny({
      server,
      webSocketServer: new WebSocketServer({ noServer: true }),
      pool: new ConnectionsPool(),
      path: '/ws',
      authenticate: anybody,
    });
    server.on('upgrade', answerWith(418));
    acceptor.detach();
    const port = await listen(server);
    expect((await refusalOf(`ws://127.0.0.1:${port}/ws`)).status).toBe(418);
  });
});
