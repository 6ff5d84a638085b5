import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import {
  ConnectionsPool,
  gracefulShutdown,
  refuseUpgrade,
  type GracefulShutdownOptions,
} from '../../src/index.js';
import {
  acceptAny,
  anybody,
  openClient,
  pending,
  refusalOf,
  startAccepting,
  type Accepting,
  type AcceptingOptions,
} from '../support/accepting.js';
import { SLOW, upgradeRaw } from '../support/shutdown.js';

/** Longer than the default of one second, for a loaded machine. */
const PATIENCE = { timeout: 10_000 };

/** A server with an acceptor on /ws, two clients and a shutdown that takes a second. */
async function startShutdown(
  accept: NonNullable<AcceptingOptions['accept']> = {},
  options: Partial<GracefulShutdownOptions> = {},
) {
  const accepting = await startAccepting({ accept: { path: '/ws', ...accept } });
  const { server, webSocketServer, pool } = accepting;
  const shutdown = gracefulShutdown({ server, webSocketServer, pool, ...SLOW, ...options });
  return { ...accepting, url: `${accepting.url}/ws`, root: accepting.url, shutdown };
}

/** Two clients: the second is closed a second after the first. */
const connectTwo = async ({ url }: Pick<Accepting, 'url'>) => [await openClient(url), await openClient(url)];

// These tests wait for drains, so they run at the same time.
/** A server whose path /admin has a pool and a shutdown of its own, which takes longer than the other. */
async function startTwoPools(signal?: AbortSignal) {
  const main = await startShutdown({}, { drain: { signal } });
  const { server, webSocketServer } = main;
  const pool = new ConnectionsPool();
  const accept = { server, webSocketServer, pool, authenticate: anybody, path: '/admin' };
  const acceptor = acceptAny(accept);
  const shutdown = gracefulShutdown({ server, webSocketServer, pool, drain: { ...SLOW.drain, signal } });
  const admin = { ...main, pool, acceptor, shutdown, url: `${main.root}/admin` };
  return { main, admin, clients: [...(await connectTwo(main)), ...(await connectTwo(admin))] };
}

describe.concurrent('two pools of one server, with a shutdown each,', () => {
  test('the shutdowns of two pools close all clients with 1012, and the server when both pools are drained', async () => {
    // The shutdown that finished first closed the server, and cut off the clients of the other pool with 1006.
    const { main, admin, clients } = await startTwoPools();
    const done = main.shutdown.shutdown();
    const adminDone = admin.shutdown.shutdown();
    for (const client of clients) expect((await client.closed).code).toBe(1012);
    expect(await done).toMatchObject({ closed: 2, left: 0 });
    expect(await adminDone).toMatchObject({ closed: 2, left: 0 });
    expect(main.server.listening).toBe(false);
  });

  test('the shutdowns of two pools keep the server open if both are aborted, even if one had finished its drain', async () => {
    const abort = new AbortController();
    const { main, admin, clients } = await startTwoPools(abort.signal);
    const failed = Promise.allSettled([main.shutdown.shutdown(), admin.shutdown.shutdown()]);
    for (const client of clients.slice(0, 3)) expect((await client.closed).code).toBe(1012);
    abort.abort(new Error('stay'));
    expect(await failed).toMatchObject([{ reason: { message: 'stay' } }, { reason: { message: 'stay' } }]);
    expect(main.server.listening).toBe(true);
    await vi.waitFor(() => expect(admin.pool.stats().connections).toBe(1), PATIENCE);
    await openClient(admin.url);
  });
});

describe.concurrent('a pool that is drained without a shutdown', () => {
  test('a draining pool refuses with 503 before the lookup', async () => {
    let lookups = 0;
    const accepting = await startAccepting({
      accept: { authenticate: () => (lookups++, anybody()), retryAfter: 9 },
    });
    const { url, pool } = accepting;
    await connectTwo(accepting);
    const drained = pool.drainConnections(1);
    const { status, headers } = await refusalOf(url);
    expect([status, headers['retry-after'], lookups]).toEqual([503, '9', 2]);
    await drained;
    expect((await refusalOf(url)).status).toBe(503);
    expect(pool.stats().refused).toBe(0);
  });

  test('a draining pool refuses with 503 after a lookup during which the drain has begun', async () => {
    const lookup = pending<object>();
    const { url, pool, acceptor } = await startAccepting({
      accept: { authenticate: () => lookup.promise },
    });
    const refused = refusalOf(url);
    await vi.waitFor(() => expect(acceptor.pending).toBe(1), PATIENCE);
    await pool.drainConnections();
    lookup.resolve(anybody());
    expect((await refused).status).toBe(503);
    expect(pool.stats().refused).toBe(0);
  });

  test("a draining pool closes with 1013 with refuseWith: 'close', before and after a lookup", async () => {
    const lookup = pending<object>();
    const { url, pool, acceptor } = await startAccepting({
      accept: { authenticate: () => lookup.promise, refuseWith: 'close' },
    });
    const opened = openClient(url);
    await vi.waitFor(() => expect(acceptor.pending).toBe(1), PATIENCE);
    await pool.drainConnections();
    lookup.resolve(anybody());
    for (const client of [await opened, await openClient(url)])
      expect(await client.closed).toEqual({ code: 1013, reason: 'Service Unavailable' });
    expect(pool.stats()).toMatchObject({ connections: 0, refused: 0 });
  });

  test('a pool takes clients again once its drain is aborted', async () => {
    const abort = new AbortController();
    const accepting = await startAccepting();
    await connectTwo(accepting);
    const drained = accepting.pool.drainConnections({ maxPerSecond: 1, signal: abort.signal });
    expect((await refusalOf(accepting.url)).status).toBe(503);
    abort.abort('stay');
    await expect(drained).rejects.toBe('stay');
    await openClient(accepting.url);
  });
});

describe.concurrent('a graceful shutdown with an acceptor', () => {
  test('an upgrade during a shutdown gets exactly one answer, with the Retry-After of the shutdown', async () => {
    const accepting = await startShutdown({}, { retryAfter: 3 });
    const clients = await connectTwo(accepting);
    const done = accepting.shutdown.shutdown();
    const { status, headers } = await refusalOf(accepting.url);
    expect([status, headers['retry-after']]).toEqual([503, '3']);
    const raw = await upgradeRaw(accepting.port);
    expect(raw.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(raw).toContain('503');
    expect(await done).toMatchObject({ closed: 2, terminated: 0 });
    for (const client of clients) expect((await client.closed).code).toBe(1012);
  });

  test("a shutdown refuses with a close code under refuseWith: 'close', and other paths with 503", async () => {
    const accepting = await startShutdown({ refuseWith: 'close' });
    await connectTwo(accepting);
    const done = accepting.shutdown.shutdown();
    expect((await (await openClient(accepting.url)).closed).code).toBe(1013);
    expect((await refusalOf(accepting.root)).status).toBe(503);
    expect(await done).toMatchObject({ closed: 2 });
    expect(accepting.server.listening).toBe(false);
  });

  test('a shutdown refuses clients even if the acceptor has another pool than the one that it drains', async () => {
    const other = await startAccepting();
    await connectTwo(other);
    const accepting = await startShutdown({}, { pool: other.pool });
    const done = accepting.shutdown.shutdown();
    expect(accepting.pool.draining).toBe(false);
    expect((await refusalOf(accepting.url)).status).toBe(503);
    await done;
  });

  test('clients are accepted during the readinessDelay, including those that are looked up when it begins', async () => {
    const lookup = pending<object>();
    let isFirst = true;
    const authenticate = (): unknown => {
      if (!isFirst) return anybody();
      isFirst = false;
      return lookup.promise;
    };
    const accepting = await startShutdown({ authenticate }, { readinessDelay: 3_000, drain: {} });
    const opened = openClient(accepting.url);
    await vi.waitFor(() => expect(accepting.acceptor.pending).toBe(1), PATIENCE);
    const done = accepting.shutdown.shutdown();
    expect(accepting.shutdown.isReady).toBe(false);
    const late = await openClient(accepting.url);
    lookup.resolve(anybody());
    const clients = [await opened, late];
    expect(accepting.pool.draining).toBe(false);
    expect(await done).toMatchObject({ closed: 2 });
    for (const client of clients) expect((await client.closed).code).toBe(1012);
  });

  test('a client whose lookup ends after the readinessDelay is refused', async () => {
    const lookup = pending<object>();
    const accepting = await startShutdown(
      { authenticate: () => lookup.promise },
      { readinessDelay: 50, drain: {} },
    );
    const refused = refusalOf(accepting.url);
    await vi.waitFor(() => expect(accepting.acceptor.pending).toBe(1), PATIENCE);
    const done = accepting.shutdown.shutdown();
    await vi.waitFor(() => expect(accepting.pool.draining).toBe(true), PATIENCE);
    lookup.resolve(anybody());
    expect((await refused).status).toBe(503);
    await done;
  });

  test('an aborted shutdown gives upgrades back to the acceptor and to other listeners', async () => {
    const abort = new AbortController();
    const accepting = await startShutdown({}, { drain: { maxPerSecond: 1, signal: abort.signal } });
    const { server } = accepting;
    const other = (request: { url?: string }, socket: Duplex): void => {
      if (request.url === '/') refuseUpgrade(socket, 418);
    };
    server.on('upgrade', other);
    await connectTwo(accepting);
    const left = once(accepting.pool, 'disconnection');
    const done = accepting.shutdown.shutdown();
    await left;
    expect((await refusalOf(accepting.root)).status).toBe(503);
    abort.abort('stay');
    await expect(done).rejects.toBe('stay');
    expect((await refusalOf(accepting.root)).status).toBe(418);
    await openClient(accepting.url);
    expect(server.listenerCount('upgrade')).toBe(2);
    accepting.acceptor.detach();
    expect(server.rawListeners('upgrade')).toEqual([other]);
  });

  test('an aborted shutdown restores no listener for an acceptor that was detached meanwhile', async () => {
    const abort = new AbortController();
    const accepting = await startShutdown({}, { drain: { maxPerSecond: 1, signal: abort.signal } });
    await connectTwo(accepting);
    const done = accepting.shutdown.shutdown();
    await vi.waitFor(() => expect(accepting.pool.draining).toBe(true), PATIENCE);
    accepting.acceptor.detach();
    expect((await refusalOf(accepting.url)).status).toBe(503);
    abort.abort('stay');
    await expect(done).rejects.toBe('stay');
    expect(accepting.server.listenerCount('upgrade')).toBe(0);
  });

  test('a shutdown ends although a lookup never answers', { timeout: 20_000 }, async () => {
    const accepting = await startShutdown({ authenticate: () => pending().promise }, { drain: {} });
    const refused = refusalOf(accepting.url).catch(() => 'cut off');
    await vi.waitFor(() => expect(accepting.acceptor.pending).toBe(1), PATIENCE);
    await accepting.shutdown.shutdown();
    expect(await refused).toBe('cut off');
    await vi.waitFor(() => expect(accepting.acceptor.clients).toBe(0), PATIENCE);
  });
});
