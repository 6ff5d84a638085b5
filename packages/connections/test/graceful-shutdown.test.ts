import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createSecureServer } from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { constants } from 'node:os';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import {
  Connection,
  ConnectionsPool,
  gracefulShutdown,
  type GracefulShutdown,
  type GracefulShutdownOptions,
} from '../src/index.js';
import { useFakeClock } from './support/fake-clock.js';
import { Client } from './support/loopback.js';
import { onTestFinished } from './support/on-test-finished.js';
import { Program } from './support/program.js';
import { upgradeRequest } from './support/raw-client.js';
import { hasSignals } from './support/requires.js';
import { tlsFixture } from './support/tls-fixture.js';
import { watchUnhandled, withhold } from './support/unhandled.js';

interface Running {
  readonly server: Server;
  readonly webSocketServer: WebSocketServer;
  readonly pool: ConnectionsPool;
  readonly clients: readonly Client[];
  readonly port: number;
  readonly shutdown: GracefulShutdown;
}

/** A server as a team would write it, with `count` clients. */
async function start(count: number, options: Partial<GracefulShutdownOptions> = {}): Promise<Running> {
  const pool = new ConnectionsPool();
  const server = createServer((_request, response) => response.end('hello'));
  const webSocketServer = new WebSocketServer({ server });
  let joined = 0;
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Connection(String(joined++), 'default', socket));
  });
  const shutdown = gracefulShutdown({ server, webSocketServer, pool, ...options });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of webSocketServer.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const clients: Client[] = [];
  while (clients.length < count) clients.push(await connect(port));
  return { server, webSocketServer, pool, clients, port, shutdown };
}

async function connect(port: number): Promise<Client> {
  const client = new Client(new WebSocket(`ws://127.0.0.1:${port}`));
  onTestFinished(() => client.socket.terminate());
  await once(client.socket, 'open');
  return client;
}

/** Asks to upgrade without a WebSocket library; resolves with all that the server says until it ends. */
async function upgradeRaw(port: number, client = net.connect(port, '127.0.0.1')): Promise<string> {
  onTestFinished(() => void client.destroy());
  client.on('error', () => undefined);
  let answer = '';
  client.on('data', (chunk) => (answer += chunk.toString()));
  client.write(upgradeRequest());
  await once(client, 'end');
  return answer;
}

async function get(
  port: number,
  agent: http.Agent | false = false,
): Promise<{ status: number | undefined; body: string }> {
  const [response] = (await once(http.get({ host: '127.0.0.1', port, agent }), 'response')) as [
    IncomingMessage,
  ];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
}

function keepAliveAgent(): http.Agent {
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  return agent;
}

/** A request that the server has got and not answered; `answered` is for its client. */
async function pendingRequest({ server, port }: Running, agent?: http.Agent) {
  server.removeAllListeners('request');
  const asked = once(server, 'request') as Promise<[IncomingMessage, http.ServerResponse]>;
  const answered = get(port, agent);
  const [, response] = await asked;
  return { response, answered };
}

/** What the server says of the connection to a client that would keep it. */
async function connectionHeader(port: number): Promise<string | undefined> {
  const request = http.get({ host: '127.0.0.1', port, agent: keepAliveAgent() });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.resume().headers.connection;
}

const isOpen = async (port: number): Promise<boolean> => {
  const socket = net.connect(port, '127.0.0.1');
  const outcome = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return outcome;
};

/** Slow enough that two clients are never gone at once. */
const SLOW = { drain: { maxPerSecond: 1 } };

describe('a shutdown', () => {
  test('closes every client with a clean 1012, then the servers, and resolves with the report', async () => {
    const { server, pool, clients, port, shutdown } = await start(5);
    const report = await shutdown.shutdown();
    expect(report).toMatchObject({ closed: 5, terminated: 0, left: 0 });
    for (const client of clients) expect(await client.closed).toEqual({ code: 1012, reason: '' });
    expect(server.listening).toBe(false);
    expect(await isOpen(port)).toBe(false);
    expect(pool.stats()).toMatchObject({ connections: 0, drains: 1, terminated: 0 });
  });

  test('passes the drain options on', async () => {
    const { clients, shutdown } = await start(1, { drain: { code: 1001, reason: 'Moving' } });
    await shutdown.shutdown();
    expect(await clients[0]!.closed).toEqual({ code: 1001, reason: 'Moving' });
  });

  test('closes the WebSocketServer behind the drain', async () => {
    const { webSocketServer, shutdown } = await start(1);
    const closed = once(webSocketServer, 'close');
    await shutdown.shutdown();
    await closed;
  });

  test('flips readiness in the instant that it begins', async () => {
    const { shutdown } = await start(1);
    expect(shutdown.isReady).toBe(true);
    const done = shutdown.shutdown();
    expect(shutdown.isReady).toBe(false);
    await done;
    expect(shutdown.isReady).toBe(false);
  });

  test('called again it is the same one', async () => {
    const { pool, shutdown } = await start(1);
    const first = shutdown.shutdown();
    expect(shutdown.shutdown()).toBe(first);
    await first;
    expect(shutdown.shutdown()).toBe(first);
    expect(pool.stats().drains).toBe(1);
  });

  test('with nobody connected is over at once', async () => {
    const { shutdown } = await start(0);
    expect(await shutdown.shutdown()).toMatchObject({ closed: 0, terminated: 0, left: 0 });
  });

  test('of a server that does not listen drains all the same', async () => {
    const pool = new ConnectionsPool();
    const shutdown = gracefulShutdown({ server: createServer(), pool });
    expect(await shutdown.shutdown()).toMatchObject({ closed: 0 });
  });

  // Node would emit `close` a second time, and whoever ends a database behind the server would do so twice.
  test('of a server that its owner has closed already does not close it again', async () => {
    const { server, shutdown } = await start(0);
    let closes = 0;
    server.on('close', () => closes++);
    server.close();
    await once(server, 'close');
    await shutdown.shutdown();
    expect(closes).toBe(1);
  });

  // The pool took newcomers again, but none could come: their upgrades were refused for ever.
  test('rejects when the drain is aborted, and takes clients again', async () => {
    const abort = new AbortController();
    const { server, pool, port, shutdown } = await start(3, {
      drain: { maxPerSecond: 1, signal: abort.signal },
    });
    const first = once(pool, 'disconnection');
    const done = shutdown.shutdown();
    await first;
    abort.abort('stay');
    await expect(done).rejects.toBe('stay');
    expect(server.listening).toBe(true);
    expect(shutdown.isReady).toBe(true);
    await connect(port);
    expect(pool.stats().connections).toBe(3);
    expect(await connectionHeader(port)).toBe('keep-alive');
    // That signal has done its work: looked at once more, it would keep the process from ever ending.
    expect(await shutdown.shutdown()).toMatchObject({ closed: 3 });
    expect(server.listening).toBe(false);
  });

  // The first slice is closed before the call returns: `isReady` was still true, and a second drain was begun.
  test('is one also for what is called from within its first slice', async () => {
    const seen: unknown[] = [];
    const { shutdown } = await start(2, {
      drain: { maxPerSecond: 2, onProgress: () => seen.push(shutdown.isReady, shutdown.shutdown()) },
    });
    const done = shutdown.shutdown();
    expect(await done).toMatchObject({ closed: 2 });
    expect(seen.slice(0, 2)).toEqual([false, done]);
    expect(seen[1]).toBe(done);
    expect(shutdown.isReady).toBe(false);
  });

  test('is left to whoever drains the pool already, and takes no clients meanwhile', async () => {
    const { server, pool, port, shutdown } = await start(2);
    const drained = pool.drainConnections(1);
    await expect(shutdown.shutdown()).rejects.toMatchObject({ code: 'ERR_POOL_DRAINING' });
    expect(shutdown.isReady).toBe(false);
    expect(await upgradeRaw(port)).toContain('503');
    expect(await drained).toMatchObject({ closed: 2 });
    expect(server.listening).toBe(true);
  });
});

describe('with a delay for the readiness probe', () => {
  test('upgrades are accepted for so long, then refused, and all are drained', async () => {
    const { pool, clients, port, shutdown } = await start(1, { readinessDelay: 500, ...SLOW });
    const startedAt = performance.now();
    const done = shutdown.shutdown();
    expect(shutdown.isReady).toBe(false);
    const late = await connect(port);
    expect(pool.stats().connections).toBe(2);
    expect(pool.draining).toBe(false);
    await Promise.race([late.closed, clients[0]!.closed]);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(495);
    expect(await upgradeRaw(port)).toContain('503');
    expect(await done).toMatchObject({ closed: 2, terminated: 0, left: 0 });
  });

  test('an abort ends it at once, and nothing has changed', async () => {
    const abort = new AbortController();
    const { pool, port, shutdown } = await start(1, {
      readinessDelay: 2_147_483_647,
      drain: { signal: abort.signal },
    });
    const done = shutdown.shutdown();
    abort.abort('stay');
    await expect(done).rejects.toBe('stay');
    expect(shutdown.isReady).toBe(true);
    await connect(port);
    expect(pool.stats()).toMatchObject({ connections: 2, drains: 0 });
  });

  test('an abort ends it also where the pool is drained by code that knows no signals', async () => {
    const abort = new AbortController();
    const drainConnections = vi.fn();
    const { port, shutdown } = await start(0, {
      readinessDelay: 2_147_483_647,
      drain: { signal: abort.signal },
      pool: { drainConnections },
    });
    const done = shutdown.shutdown();
    abort.abort('stay');
    await expect(done).rejects.toBe('stay');
    expect(drainConnections).not.toHaveBeenCalled();
    await connect(port);
  });
});

// These wait for drains, which they may do beside each other.
describe.concurrent('while it drains', () => {
  test('upgrades are refused with 503 and Retry-After before the first client is closed', async () => {
    const { pool, clients, port, shutdown } = await start(2, SLOW);
    let closed = 0;
    for (const client of clients) void client.closed.then(() => closed++);
    const done = shutdown.shutdown();
    const [head, body] = (await upgradeRaw(port)).split('\r\n\r\n');
    const [status, ...headers] = head!.split('\r\n');
    expect(status).toBe('HTTP/1.1 503 Service Unavailable');
    expect(headers).toContain('Retry-After: 5');
    expect(headers).toContain('Connection: close');
    expect(headers).toContain('Content-Length: 0');
    expect(body).toBe('');
    expect(closed).toBeLessThan(2);
    expect(await done).toMatchObject({ closed: 2 });
    expect(pool.stats().refused).toBe(0);
  });

  test('a ws client that comes is told 503, and does not hold up the end', async () => {
    const { port, shutdown } = await start(2, { ...SLOW, retryAfter: 0 });
    const done = shutdown.shutdown();
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(503);
    expect(response.headers['retry-after']).toBe('0');
    client.on('error', () => undefined);
    client.terminate();
    await done;
  });

  // It was answered, but nobody read from it or ended it: the server waited for it for ever.
  test(
    'a refused client that keeps its side open does not hold up the end',
    { timeout: 15_000 },
    async () => {
      const { server, port, shutdown } = await start(2, SLOW);
      const done = shutdown.shutdown();
      const stubborn = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      expect(await upgradeRaw(port, stubborn)).toContain('503');
      const cutOff = vi.spyOn(server, 'closeAllConnections');
      await done;
      expect(cutOff).not.toHaveBeenCalled();
    },
  );

  test('a client that resets its refused upgrade breaks nothing', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    const client = net.connect(port, '127.0.0.1');
    await once(client, 'connect');
    client.write(upgradeRequest(), () => client.resetAndDestroy());
    expect(await done).toMatchObject({ closed: 2 });
  });

  test('plain requests are served', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    expect(await get(port)).toEqual({ status: 200, body: 'hello' });
    await done;
  });

  test('requests are answered for the last time on their connection', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    expect(await connectionHeader(port)).toBe('close');
    await done;
  });

  test('clients whose turn has not come talk on', async () => {
    const { pool, clients, shutdown } = await start(2, SLOW);
    const left = once(pool, 'disconnection');
    const done = shutdown.shutdown();
    const last = clients[1]!;
    await left;
    expect(await pool.broadcastMessage('default', 'still here')).toMatchObject({ recipients: 1, sent: 1 });
    expect(await last.exactly(1)).toEqual(['still here']);
    await done;
  });
});

describe.concurrent('connections that would keep a server open', () => {
  test('a keep-alive connection without a request does not', async () => {
    const { port, shutdown } = await start(1);
    expect(await get(port, keepAliveAgent())).toEqual({ status: 200, body: 'hello' });
    await shutdown.shutdown();
  });

  test('a request that is running may finish', async () => {
    const running = await start(1);
    const { server, shutdown } = running;
    const { response, answered } = await pendingRequest(running);
    const done = shutdown.shutdown();
    while (server.listening) await new Promise((resolve) => setImmediate(resolve));
    response.end('late');
    expect(await answered).toEqual({ status: 200, body: 'late' });
    await done;
  });

  // Nothing tells its client to close the connection: it has to be found idle.
  test('a request that was running does not, once it has finished', { timeout: 15_000 }, async () => {
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
  });

  // Once its upgrade has begun, the server itself does not know of a socket any more.
  test(
    'an upgrade that nobody answers, and a socket in no pool, do not for long',
    { timeout: 15_000 },
    async () => {
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

  // The probe of a load balancer is such a one.
  test('a TLS handshake that never begins does not for long', { timeout: 15_000 }, async () => {
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

  test('a server that its owner is closing is waited for', async () => {
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

  test('a request that never finishes, or never begins, does not for long', { timeout: 15_000 }, async () => {
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
  });

  // Only the pool was drained: the server waited for the others for ever.
  test('a WebSocket that is in no pool does not', async () => {
    const { webSocketServer, port, shutdown } = await start(1);
    webSocketServer.removeAllListeners('connection');
    const stray = await connect(port);
    const done = shutdown.shutdown();
    await stray.closed;
    await done;
  });
});

describe.skipIf(!hasSignals)('a signal to a process', { concurrent: true }, () => {
  async function startProgram(count: number) {
    const program = new Program('shutdown-server');
    const port = (await program.message()) as number;
    const clients: Client[] = [];
    while (clients.length < count) clients.push(await connect(port));
    return { program, port, clients };
  }

  test('drains, and the process ends with status 0', { timeout: 20_000 }, async () => {
    const { program, clients } = await startProgram(2);
    program.process.kill('SIGTERM');
    for (const client of clients) expect((await client.closed).code).toBe(1012);
    expect(await program.exited).toEqual({ status: 0, signal: null });
  });

  // Ctrl-C in a terminal reaches the whole process group, and npm passes it on once more.
  test('that comes twice within half a second counts once', { timeout: 20_000 }, async () => {
    const { program, clients } = await startProgram(2);
    program.process.kill('SIGINT');
    await clients[0]!.closed;
    program.process.kill('SIGINT');
    expect(await clients[1]!.closed).toEqual({ code: 1012, reason: '' });
    expect(await program.exited).toEqual({ status: 0, signal: null });
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'a second %s ends the process at once, with 128 and its number',
    { timeout: 20_000 },
    async (signal) => {
      const { program, clients } = await startProgram(10);
      program.process.kill(signal);
      // The second of them is closed a second later.
      await clients[1]!.closed;
      program.process.kill(signal);
      expect(await program.exited).toEqual({ status: 128 + constants.signals[signal], signal: null });
      expect((await clients[9]!.closed).code).toBe(1006);
    },
  );

  // Each kind had a first one of its own: Ctrl-C could not end what SIGTERM had begun.
  test('a second signal of another kind is a second one too', { timeout: 20_000 }, async () => {
    const { program, clients } = await startProgram(10);
    program.process.kill('SIGTERM');
    await clients[1]!.closed;
    program.process.kill('SIGINT');
    expect(await program.exited).toEqual({ status: 130, signal: null });
  });
});

test.each<[string, object, ErrorConstructor]>([
  ['no server', { server: undefined }, TypeError],
  ['a server that is none', { server: {} }, TypeError],
  ['no pool', { pool: null }, TypeError],
  ['a pool that is none', { pool: {} }, TypeError],
  ['an HTTP/2 server', { server: createHttp2Server() }, TypeError],
  ['a webSocketServer that is none', { webSocketServer: {} }, TypeError],
  ['signals that are no list', { signals: 'SIGTERM' }, TypeError],
  ['a signal that does not exist', { signals: ['SIGTERM', 'SIGFOO'] }, TypeError],
  ['onError that is no function', { onError: 'log' }, TypeError],
  ['retryAfter -1', { retryAfter: -1 }, RangeError],
  ['retryAfter 1.5', { retryAfter: 1.5 }, RangeError],
  ['retryAfter NaN', { retryAfter: NaN }, RangeError],
  ['readinessDelay -1', { readinessDelay: -1 }, RangeError],
  ['readinessDelay NaN', { readinessDelay: NaN }, RangeError],
  ['readinessDelay beyond 2^31 - 1', { readinessDelay: 2 ** 31 }, RangeError],
  ["readinessDelay '5000'", { readinessDelay: '5000' }, TypeError],
])('%s is refused at once', (_, wrong, error) => {
  const options = { server: createServer(), pool: new ConnectionsPool(), ...wrong };
  expect(() => gracefulShutdown(options)).toThrow(error);
  const [name] = Object.keys(wrong);
  expect(() => gracefulShutdown(options)).toThrow(new RegExp(`^Expected ${name} to .*, got `));
});

describe('signals', () => {
  test('none are listened to unless asked', async () => {
    const listeners = (): unknown[] =>
      process.eventNames().map((name) => [name, process.listenerCount(name)]);
    const before = listeners();
    await start(0);
    expect(listeners()).toEqual(before);
  });

  const broken = {
    signals: ['SIGUSR2', 'SIGHUP'],
    pool: { drainConnections: () => Promise.reject(new Error('broken')) },
  } as const;

  /** What listens to signals does so until the test has ended. */
  function forgetSignals(): void {
    onTestFinished(() => void process.removeAllListeners('SIGUSR2').removeAllListeners('SIGHUP'));
  }

  test('a failed shutdown is told to onError, and the next signal ends the process', async () => {
    forgetSignals();
    const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
    onTestFinished(() => exit.mockRestore());
    const errors: unknown[] = [];
    const { port, shutdown } = await start(0, { ...broken, onError: (error) => errors.push(error) });
    process.emit('SIGUSR2', 'SIGUSR2');
    process.emit('SIGUSR2', 'SIGUSR2');
    await new Promise((resolve) => setImmediate(resolve));
    expect(errors).toEqual([new Error('broken')]);
    expect(shutdown.isReady).toBe(false);
    expect(await upgradeRaw(port)).toContain('503');
    expect(exit).not.toHaveBeenCalled();
    process.emit('SIGHUP', 'SIGHUP');
    expect(exit.mock.calls).toEqual([[129]]);
  });

  test('a failed shutdown is an unhandled rejection where nobody listens to errors', async () => {
    forgetSignals();
    withhold('unhandledRejection');
    await start(0, broken);
    const rejection = once(process, 'unhandledRejection');
    process.emit('SIGUSR2', 'SIGUSR2');
    expect((await rejection)[0]).toEqual(new Error('broken'));
  });

  // It ended the process, and with it all the clients that were to stay.
  test('an aborted one is no failure, and the next signal begins another', async () => {
    forgetSignals();
    const { reasons, settle } = watchUnhandled();
    const abort = new AbortController();
    const { server, port, shutdown } = await start(1, {
      signals: ['SIGUSR2'],
      readinessDelay: 200,
      drain: { signal: abort.signal },
    });
    process.emit('SIGUSR2', 'SIGUSR2');
    expect(shutdown.isReady).toBe(false);
    abort.abort('stay');
    await settle();
    expect(reasons).toEqual([]);
    expect(shutdown.isReady).toBe(true);
    await connect(port);
    process.emit('SIGUSR2', 'SIGUSR2');
    expect(shutdown.isReady).toBe(false);
    expect(await shutdown.shutdown()).toMatchObject({ closed: 2 });
    expect(server.listening).toBe(false);
  });

  describe('by a fake clock', () => {
    useFakeClock();

    /** Both signals start a shutdown that does not end; returns what would end the process. */
    function listenToBoth() {
      const drainConnections = () => new Promise<never>(() => undefined);
      gracefulShutdown({
        server: createServer(),
        pool: { drainConnections },
        signals: ['SIGUSR2', 'SIGHUP'],
      });
      forgetSignals();
      return vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
    }

    test('the same signal is the same one for half a second, and ends the process after that', () => {
      const exit = listenToBoth();
      process.emit('SIGUSR2', 'SIGUSR2');
      process.emit('SIGUSR2', 'SIGUSR2');
      vi.advanceTimersByTime(500);
      process.emit('SIGUSR2', 'SIGUSR2');
      expect(exit).not.toHaveBeenCalled();
      vi.advanceTimersByTime(1);
      process.emit('SIGUSR2', 'SIGUSR2');
      expect(exit.mock.calls).toEqual([[128 + constants.signals.SIGUSR2]]);
    });

    test('another signal ends the process at once', () => {
      const exit = listenToBoth();
      process.emit('SIGUSR2', 'SIGUSR2');
      process.emit('SIGHUP', 'SIGHUP');
      expect(exit.mock.calls).toEqual([[129]]);
    });
  });
});
