import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import net from 'node:net';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool, gracefulShutdown } from '../../src/index.js';
import { upgradeRequest } from '../support/raw-client.js';
import { start, connect, upgradeRaw, get, connectionHeader, isOpen, SLOW } from '../support/shutdown.js';
import { watchUnhandled } from '../support/unhandled.js';

test('a shutdown closes every client with a clean 1012, then the servers, and resolves with the report', async () => {
  const { server, pool, clients, port, shutdown } = await start(5);
  const report = await shutdown.shutdown();
  expect(report).toMatchObject({ closed: 5, terminated: 0, left: 0 });
  for (const client of clients) expect(await client.closed).toEqual({ code: 1012, reason: '' });
  expect(server.listening).toBe(false);
  expect(await isOpen(port)).toBe(false);
  expect(pool.stats()).toMatchObject({ connections: 0, drains: 1, terminated: 0 });
});

test('a shutdown passes the drain options on', async () => {
  const { clients, shutdown } = await start(1, { drain: { code: 1001, reason: 'Moving' } });
  await shutdown.shutdown();
  expect(await clients[0]!.closed).toEqual({ code: 1001, reason: 'Moving' });
});

test('a shutdown closes the WebSocketServer after the drain', async () => {
  const { webSocketServer, shutdown } = await start(1);
  const closed = once(webSocketServer, 'close');
  await shutdown.shutdown();
  await closed;
});

test('isReady is false from the instant in which a shutdown begins', async () => {
  const { shutdown } = await start(1);
  expect(shutdown.isReady).toBe(true);
  const done = shutdown.shutdown();
  expect(shutdown.isReady).toBe(false);
  await done;
  expect(shutdown.isReady).toBe(false);
});

test('a second call of shutdown() returns the promise of the first', async () => {
  const { pool, shutdown } = await start(1);
  const first = shutdown.shutdown();
  expect(shutdown.shutdown()).toBe(first);
  await first;
  expect(shutdown.shutdown()).toBe(first);
  expect(pool.stats().drains).toBe(1);
});

test('a shutdown with nobody connected is over at once', async () => {
  const { shutdown } = await start(0);
  expect(await shutdown.shutdown()).toMatchObject({ closed: 0, terminated: 0, left: 0 });
});

test('a shutdown of a server that does not listen drains the pool all the same', async () => {
  const pool = new ConnectionsPool();
  const shutdown = gracefulShutdown({ server: createServer(), pool });
  expect(await shutdown.shutdown()).toMatchObject({ closed: 0 });
});

test('a shutdown does not close a server again that its owner has already closed', async () => {
  // Node would emit `close` a second time, and a listener that closes a database would do so twice.
  const { server, shutdown } = await start(0);
  let closes = 0;
  server.on('close', () => closes++);
  server.close();
  await once(server, 'close');
  await shutdown.shutdown();
  expect(closes).toBe(1);
});

test('a shutdown whose drain is aborted rejects and takes clients again', async () => {
  // The pool took newcomers again, but their upgrades were refused for ever.
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
  // That signal has been handled: if it counted again, nothing could ever end the process.
  expect(await shutdown.shutdown()).toMatchObject({ closed: 3 });
  expect(server.listening).toBe(false);
});

test('a shutdown that is called within its own first slice is the same one', async () => {
  // The first slice is closed before the call returns: `isReady` was still true, and a second drain began.
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

test('a shutdown joins a drain of the pool that is running, then closes the server', async () => {
  const { server, pool, port, shutdown } = await start(2);
  const drained = pool.drainConnections(1);
  const done = shutdown.shutdown();
  expect(shutdown.isReady).toBe(false);
  await once(pool, 'disconnection');
  expect(await upgradeRaw(port)).toContain('503');
  const report = await drained;
  expect(report).toMatchObject({ closed: 2 });
  expect(await done).toBe(report);
  expect(server.listening).toBe(false);
});

describe('with a delay for the readiness probe', () => {
  test('upgrades are accepted during the readinessDelay, then refused, and all clients are drained', async () => {
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

  test('an abort ends the readinessDelay at once, and nothing has changed', async () => {
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

  test('an abort ends the readinessDelay also if the pool is drained by code that knows no abort signals', async () => {
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

// These tests wait for drains, so they run at the same time.
describe.concurrent('while it drains', () => {
  test('upgrades are refused with 503 and Retry-After before all clients are closed', async () => {
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

  test('a ws client that connects during a drain gets 503 and does not delay the end', async () => {
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

  test('a refused client that keeps its side open does not delay the end', { timeout: 15_000 }, async () => {
    // The upgrade was answered, but nobody read from its socket or ended it: the server waited for it for ever.
    const { server, port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    const stubborn = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    expect(await upgradeRaw(port, stubborn)).toContain('503');
    const cutOff = vi.spyOn(server, 'closeAllConnections');
    await done;
    expect(cutOff).not.toHaveBeenCalled();
  });

  test('a client that resets its refused upgrade breaks nothing', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    const client = net.connect(port, '127.0.0.1');
    await once(client, 'connect');
    client.write(upgradeRequest(), () => client.resetAndDestroy());
    expect(await done).toMatchObject({ closed: 2 });
  });

  test('plain requests are served while the clients are drained', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    expect(await get(port)).toEqual({ status: 200, body: 'hello' });
    await done;
  });

  test('a response during a drain closes its connection', async () => {
    const { port, shutdown } = await start(2, SLOW);
    const done = shutdown.shutdown();
    expect(await connectionHeader(port)).toBe('close');
    await done;
  });

  test('clients whose turn has not come still get messages', async () => {
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

test('two shutdowns of one pool drain it once, and both servers close', async () => {
  // With a public and an internal server, the second shutdown failed with "draining already": the process crashed in
  // the middle of the drain, or, with an `onError`, never ended.
  const one = await start(2, SLOW);
  const { pool } = one;
  const other = await start(0, { pool, drain: { maxPerSecond: 1_000 } });
  let joined = 0;
  other.webSocketServer.removeAllListeners('connection').on('connection', (socket) => {
    void pool.newConnection(new Connection(`other ${joined++}`, 'default', socket));
  });
  const clients = [...one.clients, await connect(other.port)];
  expect(pool.stats().connections).toBe(3);
  const reports = await Promise.all([one.shutdown.shutdown(), other.shutdown.shutdown()]);
  expect(reports[0]).toBe(reports[1]);
  expect(pool.stats().drains).toBe(1);
  expect(reports[0]).toMatchObject({ closed: 3, terminated: 0, left: 0 });
  for (const client of clients) expect(await client.closed).toEqual({ code: 1012, reason: '' });
  for (const { server } of [one, other]) expect(server.listening).toBe(false);
});

test('closed resolves with the report when a shutdown is done', async () => {
  const { server, shutdown } = await start(1);
  let isListening: boolean | undefined;
  const closed = shutdown.closed.then((report) => {
    isListening = server.listening;
    return report;
  });
  const report = await shutdown.shutdown();
  expect(await closed).toBe(report);
  expect(isListening).toBe(false);
});

test('closed waits for the shutdown that follows an aborted one', async () => {
  const abort = new AbortController();
  const { shutdown } = await start(2, { drain: { maxPerSecond: 1, signal: abort.signal } });
  let isClosed = false;
  void shutdown.closed.then(() => (isClosed = true));
  const aborted = shutdown.shutdown();
  abort.abort('stay');
  await expect(aborted).rejects.toBe('stay');
  await new Promise((resolve) => setImmediate(resolve));
  expect(isClosed).toBe(false);
  const report = await shutdown.shutdown();
  expect(await shutdown.closed).toBe(report);
});

test('closed never rejects, not even if the shutdown fails', async () => {
  const { reasons, settle } = watchUnhandled();
  const drainConnections = () => Promise.reject(new Error('broken'));
  const { shutdown } = await start(0, { pool: { drainConnections } });
  await expect(shutdown.shutdown()).rejects.toThrow('broken');
  const pending = Symbol('pending');
  await settle();
  expect(await Promise.race([shutdown.closed, Promise.resolve(pending)])).toBe(pending);
  expect(reasons).toEqual([]);
});
