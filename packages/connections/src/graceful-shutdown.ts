import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { assertFunction, assertMs } from './arguments.js';
import { expected } from './errors.js';
import { planDrain, type DrainOptions } from './drain-options.js';
import type { DrainReport } from './drain.js';
import { DEFAULT_CLOSE_TIMEOUT_MS } from './options.js';

/** What refused clients are told, in seconds (RFC 9110 §10.2.3). */
const DEFAULT_RETRY_AFTER_SECONDS = 5;
/** How long requests that are still running may take once the pool is empty, in ms. */
const REQUEST_GRACE_MS = 5_000;
/** How often connections whose last request has ended are looked for meanwhile, in ms. */
const IDLE_CHECK_MS = 50;
/**
 * A signal that comes again within this many ms is the same one: Ctrl-C in a terminal reaches the whole process
 * group, and `npm start` passes it on once more.
 */
const SAME_SIGNAL_MS = 500;

export interface GracefulShutdownOptions {
  /** The HTTP or HTTPS server that takes the upgrades: one shutdown each, made before it listens. */
  readonly server: Server;
  /** What is drained. */
  readonly pool: { drainConnections(options: DrainOptions): Promise<DrainReport> };
  /** Closed behind the drain where given, with clients that are in no pool: the `WebSocketServer` of `ws`. */
  readonly webSocketServer?: {
    readonly clients?: Iterable<{ terminate(): void }>;
    close(callback?: (error?: Error) => void): void;
  };
  /**
   * How long upgrades are still accepted while `isReady` is already `false`, in ms: until the load balancer has
   * probed often enough to have noticed, clients that are closed would be sent back here, and refused. At least the
   * probe's period times its failure threshold. Range: 0, or 1 to 2147483647.
   *
   * @default 0: refused from the first instant
   */
  readonly readinessDelay?: number;
  /**
   * How to drain. Its `signal` aborts the shutdown that is running then: one that begins later does not look at it.
   *
   * @default `{}`: 1,000 connections per second, in slices of 100
   */
  readonly drain?: DrainOptions;
  /** `Retry-After` of refused upgrades, in seconds. Range: a whole number, 0 or more. @default 5 */
  readonly retryAfter?: number;
  /**
   * Signals that start the shutdown, such as `['SIGTERM', 'SIGINT']`. A second one ends the process at once with
   * status 128 + its number.
   *
   * @default []: none
   */
  readonly signals?: readonly NodeJS.Signals[];
  /**
   * Called when a shutdown that a signal has started fails. To be aborted is not to fail.
   *
   * @default the failure is an unhandled rejection, which ends the process
   */
  readonly onError?: (error: unknown) => void;
}

export interface GracefulShutdown {
  /**
   * For the readiness probe of a load balancer: `false` from the first instant of the shutdown, `true` again when
   * `drain.signal` has aborted it.
   */
  readonly isReady: boolean;
  /**
   * Refuses upgrades with 503 and `Retry-After` (after the `readinessDelay`), drains the pool, then closes the servers.
   * What still holds them open 5 s after that is cut off: requests that do not end, sockets that are in no pool.
   * Called again, it returns the same promise.
   *
   * @returns what came of the drain, when the servers have closed
   * @throws (rejects) the reason with which `drain.signal` was aborted: upgrades are accepted again then, and the
   * shutdown may be called again
   * @throws {ConnectionsError} (rejects) `ERR_POOL_DRAINING`: the pool is drained by somebody else, to whom the rest is
   * left; upgrades stay refused
   */
  shutdown(): Promise<DrainReport>;
}

/**
 * Ties a rolling deploy together for an `http.Server` with `ws`: no client is accepted that would be sent away at
 * once, and none is sent away faster than the other nodes can take.
 *
 * @throws {TypeError} `server` or `pool` is missing or of another kind, or a signal is unknown
 * @throws {TypeError | RangeError} an option of the drain is wrong, or `retryAfter` or `readinessDelay` out of range
 */
export function gracefulShutdown(options: GracefulShutdownOptions): GracefulShutdown {
  assertOptions(options);
  const sockets = socketsOf(options.server);
  let running: Promise<DrainReport> | undefined;
  const begin = async (): Promise<DrainReport> => {
    const drain = drainOf(options);
    // Not at once: what the drain calls finds `running` set.
    await Promise.resolve();
    try {
      return await run(options, drain, sockets);
    } catch (error) {
      if (drain.signal?.aborted) running = undefined;
      throw error;
    }
  };
  const shutdown = (): Promise<DrainReport> => (running ??= begin());
  listenTo(options, shutdown);
  return {
    get isReady() {
      return running === undefined;
    },
    shutdown,
  };
}

/** Now, and not when it is too late to mend. */
function assertOptions(options: GracefulShutdownOptions): void {
  const { server, pool, webSocketServer, retryAfter = 0, readinessDelay = 0 } = options;
  assertMethod('server', server, 'close');
  // An HTTP/2 server has none, and its sessions would hold it open.
  assertMethod('server', server, 'closeAllConnections');
  assertMethod('pool', pool, 'drainConnections');
  if (webSocketServer !== undefined) assertMethod('webSocketServer', webSocketServer, 'close');
  if (!Number.isSafeInteger(retryAfter) || retryAfter < 0) {
    throw new RangeError(expected('retryAfter to be a whole number of seconds', retryAfter));
  }
  if (readinessDelay !== 0) assertMs('readinessDelay', readinessDelay);
  planDrain(options.drain ?? {}, DEFAULT_CLOSE_TIMEOUT_MS);
  assertSignals(options.signals ?? []);
  assertFunction('onError', options.onError);
}

/** The open sockets of a server, those included that were upgraded, or have not said anything yet. */
function socketsOf(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  function onClose(this: Socket): void {
    sockets.delete(this);
  }
  server.on('connection', (socket: Socket) => void sockets.add(socket.once('close', onClose)));
  return sockets;
}

/** Whose signal has aborted an earlier shutdown does not abort this one: nothing could ever end the process. */
function drainOf({ drain = {} }: GracefulShutdownOptions): DrainOptions {
  const { signal, ...rest } = drain;
  return signal?.aborted ? rest : drain;
}

async function run(
  options: GracefulShutdownOptions,
  drain: DrainOptions,
  sockets: ReadonlySet<Socket>,
): Promise<DrainReport> {
  const { server, pool, webSocketServer, readinessDelay = 0 } = options;
  if (readinessDelay > 0) {
    const { signal } = drain;
    // Rejects for an abort alone, whose reason is then the same as if the drain had begun.
    await delay(readinessDelay, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
  const reopen = refuseUpgrades(server, options.retryAfter ?? DEFAULT_RETRY_AFTER_SECONDS);
  let report: DrainReport;
  try {
    report = await pool.drainConnections(drain);
  } catch (error) {
    if (drain.signal?.aborted) reopen();
    throw error;
  }
  // Those that are in no pool have nobody else who would close them.
  for (const socket of webSocketServer?.clients ?? []) socket.terminate();
  webSocketServer?.close();
  await closeServer(server, sockets);
  return report;
}

/** @returns undoes it */
function refuseUpgrades(server: Server, retryAfter: number): () => void {
  // Instead of whoever took upgrades so far: an upgrade must have one answer.
  const takers = server.rawListeners('upgrade') as ((...args: unknown[]) => void)[];
  const onUpgrade = (_request: unknown, socket: Duplex): void => refuse(socket, retryAfter);
  // A connection that is kept alive would hold the server open behind its last request.
  const onRequest = (_request: unknown, response: ServerResponse): void => {
    response.setHeader('Connection', 'close');
  };
  server.removeAllListeners('upgrade').on('upgrade', onUpgrade).prependListener('request', onRequest);
  return () => {
    server.off('upgrade', onUpgrade).off('request', onRequest);
    for (const taker of takers) server.on('upgrade', taker);
  };
}

function refuse(socket: Duplex, retryAfter: number): void {
  // The peer may be gone already, which is no reason to fail.
  socket.on('error', () => socket.destroy());
  // Nor to wait for it to end its side too.
  socket.once('finish', () => socket.destroy());
  socket.end(
    'HTTP/1.1 503 Service Unavailable\r\n' +
      `Retry-After: ${retryAfter}\r\n` +
      'Connection: close\r\nContent-Length: 0\r\n\r\n',
  );
}

/** Also waits for one that its owner is closing. */
async function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  // Not `size`: a socket that is destroyed may tell so behind the server's own `close`.
  if (!server.listening && [...sockets].every(({ destroyed }) => destroyed)) return;
  const closed = new Promise((resolve) => server.once('close', resolve));
  if (server.listening) server.close();
  const overdue = setTimeout(() => {
    server.closeAllConnections();
    // It does not know of those that were upgraded, or have not finished their TLS handshake.
    for (const socket of sockets) socket.destroy();
  }, REQUEST_GRACE_MS);
  // Those whose request was running are idle later.
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  await closed;
  clearInterval(idle);
  clearTimeout(overdue);
}

function listenTo(options: GracefulShutdownOptions, shutdown: () => Promise<unknown>): void {
  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | undefined;
  const begin = async (): Promise<void> => {
    const { signal } = drainOf(options);
    try {
      await shutdown();
    } catch (error) {
      // The next signal is a first one again.
      if (signal?.aborted) first = undefined;
      else if (options.onError) options.onError(error);
      else throw error;
    }
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    const atMs = performance.now();
    if (first === undefined) {
      first = { signal, atMs };
      void begin();
    } else if (signal !== first.signal || atMs - first.atMs > SAME_SIGNAL_MS) {
      process.exit(128 + constants.signals[signal]);
    }
  };
  for (const signal of options.signals ?? []) process.on(signal, onSignal);
}

function assertSignals(signals: unknown): void {
  const isKnown = (name: unknown): boolean =>
    typeof name === 'string' && Object.hasOwn(constants.signals, name);
  if (Array.isArray(signals) && signals.every(isKnown)) return;
  throw new TypeError(expected("signals to be names such as 'SIGTERM'", signals));
}

function assertMethod(name: string, value: unknown, method: string): void {
  if (typeof (value as Record<string, unknown> | null | undefined)?.[method] === 'function') return;
  throw new TypeError(expected(`${name} to have ${method}()`, value));
}
