import { once } from 'node:events';
import http, { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { Client } from '../support/loopback.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { start, connect, upgradeRaw, get, keepAliveAgent, pendingRequest } from '../support/shutdown.js';
import { tlsFixture } from '../support/tls-fixture.js';

// These tests wait for drains, so they run at the same time.
describe.concurrent('a server that is shut down', () => {
  test('a keep-alive connection without a request does not keep the server open', async () => {
    const { port, shutdown } = await start(1);
    expect(await get(port, keepAliveAgent())).toEqual({ status: 200, body: 'hello' });
    await shutdown.shutdown();
  });

  test(
    'a server that never listens and gets its sockets from another one can be shut down',
    { timeout: 15_000 },
    async () => {
      // The primary of a cluster with sticky sessions uses one. Such a server has no `close` event to wait for.
      const worker = createServer((_request, response) => response.end('hello'));
      const shutdown = gracefulShutdown({ server: worker, pool: new ConnectionsPool() });
      const primary = net
        .createServer((socket) => void worker.emit('connection', socket))
        .listen(0, '127.0.0.1');
      onTestFinished(() => void primary.close());
      await once(primary, 'listening');
      const { port } = primary.address() as AddressInfo;
      expect(await get(port, keepAliveAgent())).toEqual({ status: 200, body: 'hello' });
      expect(await shutdown.shutdown()).toMatchObject({ closed: 0 });
    },
  );

  test('a request that is running when a shutdown begins may finish', async () => {
    const running = await start(1);
    const { server, shutdown } = running;
    const { response, answered } = await pendingRequest(running);
    const done = shutdown.shutdown();
    while (server.listening) await new Promise((resolve) => setImmediate(resolve));
    response.end('late');
    expect(await answered).toEqual({ status: 200, body: 'late' });
    await done;
  });

  test(
    'a connection whose running request has finished does not keep the server open',
    { timeout: 15_000 },
    async () => {
      // The client is not told to close the connection: the library has to find it idle.
      const running = await start(1);
      const { server, shutdown } = running;
      server.keepAliveTimeout = 0;
      const { response, answered } = await pendingRequest(running, keepAliveAgent());
      const cutOff = vi.spyOn(server, 'closeAllConnections');
      const done = shutdown.shutdown();
      while (server.listening) await new Promise((resolve) => setImmediate(resolve));
      response.end('late');
      expect(await answered).toEqual({ status: 200, body: 'late' });
      await done;
      expect(cutOff).not.toHaveBeenCalled();
    },
  );

  test(
    'a shutdown cuts off an unanswered upgrade and a WebSocket that it does not know after a while',
    { timeout: 15_000 },
    async () => {
      // Once its upgrade has begun, the server itself no longer knows a socket.
      const { server, port, shutdown } = await start(1, { webSocketServer: { close: () => undefined } });
      const strangers = new WebSocketServer({ noServer: true });
      server.removeAllListeners('upgrade');
      server.on('upgrade', (request, socket, head) => {
        if (request.url === '/strangers') strangers.handleUpgrade(request, socket, head, () => undefined);
      });
      const stranger = new Client(new WebSocket(`ws://127.0.0.1:${port}/strangers`));
      await once(stranger.socket, 'open');
      const hanging = once(server, 'upgrade');
      const unanswered = upgradeRaw(port);
      await hanging;
      expect(await shutdown.shutdown()).toMatchObject({ closed: 1 });
      expect((await stranger.closed).code).toBe(1006);
      expect(await unanswered).toBe('');
      expect(server.listening).toBe(false);
    },
  );

  test('a TLS handshake that never begins is cut off after a while', { timeout: 15_000 }, async () => {
    // Probes of load balancers behave like this.
    const pool = new ConnectionsPool();
    const server = createSecureServer(tlsFixture);
    const shutdown = gracefulShutdown({ server, pool });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const probe = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    onTestFinished(() => void probe.destroy());
    probe.on('error', () => undefined);
    const cut = once(probe, 'close');
    await once(server, 'connection');
    await shutdown.shutdown();
    await cut;
    expect(server.listening).toBe(false);
  });

  test('a shutdown waits for a server that its owner is already closing', async () => {
    const running = await start(1);
    const { server, shutdown } = running;
    const { response, answered } = await pendingRequest(running);
    let isClosed = false;
    server.close(() => (isClosed = true));
    const done = shutdown.shutdown();
    setTimeout(() => response.end('late'), 200);
    await done;
    expect(isClosed).toBe(true);
    expect(await answered).toEqual({ status: 200, body: 'late' });
  });

  test(
    'a request that never finishes and a connection that never sends one are cut off after a while',
    { timeout: 15_000 },
    async () => {
      const { server, port, shutdown } = await start(1);
      const silent = net.connect(port, '127.0.0.1');
      const ended = once(silent, 'close');
      await once(silent, 'connect');
      server.removeAllListeners('request');
      const asked = once(server, 'request');
      const request = http.get({ host: '127.0.0.1', port });
      const failed = once(request, 'error').catch((error: unknown) => [error]);
      await asked;
      await shutdown.shutdown();
      expect(await failed).toMatchObject([{ code: 'ECONNRESET' }]);
      await ended;
    },
  );

  test('a client of the WebSocketServer that is in no pool is closed with the code of the drain', async () => {
    // A client that had connected but not yet joined was cut off without a close frame, at the end of the drain.
    const { webSocketServer, port, shutdown } = await start(1);
    webSocketServer.removeAllListeners('connection');
    const stray = await connect(port);
    const done = shutdown.shutdown();
    expect(await stray.closed).toEqual({ code: 1012, reason: '' });
    await done;
  });

  test('a server that is still looking up its host closes when it listens', async () => {
    // `listen('localhost')` takes a moment. A shutdown meanwhile mistook the server for closed, and the process did not
    // end.
    const server = createServer();
    const shutdown = gracefulShutdown({ server, pool: new ConnectionsPool() });
    onTestFinished(() => void server.close());
    const closed = once(server, 'close');
    server.listen(0, 'localhost');
    expect(server.listening).toBe(false);
    await shutdown.shutdown();
    await closed;
    expect(server.listening).toBe(false);
  });
});
