import type { Server, ServerResponse } from 'node:http';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { assertMs } from './arguments.js';
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
  /** The HTTP server that takes the upgrades. */
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
  /** How to drain. @default `{}`: 1,000 connections per second, in slices of 100 */
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
   * Called when a shutdown that a signal has started fails.
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
   * Refuses upgrades with 503 and `Retry-After`, drains the pool, then closes the servers. Called again, it
   * returns the same promise.
   *
   * @returns what came of the drain, when the servers have closed
   * @throws (rejects) the reason with which `drain.signal` was aborted: upgrades are accepted again then, and the
   * shutdown may be called again
   */
  shutdown(): Promise<DrainReport>;
}

/**
 * Ties a rolling deploy together for an `http.Server` with `ws`: no client is accepted that would be sent away at
 * once, and none is sent away faster than the other nodes can take.
 *
 * @throws {TypeError} `server` or `pool` is missing
 * @throws {TypeError | RangeError} an option of the drain is wrong, or `retryAfter` or `readinessDelay` out of range
 */
export function gracefulShutdown(options: GracefulShutdownOptions): GracefulShutdown {
  const { server, pool, retryAfter = DEFAULT_RETRY_AFTER_SECONDS, readinessDelay = 0 } = options;
  assertMethod('server', server, 'close');
  assertMethod('pool', pool, 'drainConnections');
  if (!Number.isSafeInteger(retryAfter) || retryAfter < 0) {
    throw new RangeError(expected('retryAfter to be a whole number of seconds', retryAfter));
  }
  if (readinessDelay !== 0) assertMs('readinessDelay', readinessDelay);
  // Now, and not when it is too late to mend.
  planDrain(options.drain ?? {}, DEFAULT_CLOSE_TIMEOUT_MS);
  let running: Promise<DrainReport> | undefined;
  const shutdown = (): Promise<DrainReport> =>
    (running ??= run(options, retryAfter).catch((error: unknown) => {
      running = undefined;
      throw error;
    }));
  listenTo(options.signals ?? [], shutdown, options.onError);
  return {
    get isReady() {
      return running === undefined;
    },
    shutdown,
  };
}

async function run(options: GracefulShutdownOptions, retryAfter: number): Promise<DrainReport> {
  const { server, pool, webSocketServer, readinessDelay = 0, drain = {} } = options;
  if (readinessDelay > 0) {
    // It rejects for an abort alone, which the drain then rejects with too, having begun nothing.
    await delay(readinessDelay, undefined, { signal: drain.signal }).catch(() => undefined);
  }
  const reopen = refuseUpgrades(server, retryAfter);
  let report: DrainReport;
  try {
    report = await pool.drainConnections(drain);
  } catch (error) {
    reopen();
    throw error;
  }
  // Those that are in no pool have nobody else who would close them.
  for (const socket of webSocketServer?.clients ?? []) socket.terminate();
  webSocketServer?.close();
  await closeServer(server);
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

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const overdue = setTimeout(() => server.closeAllConnections(), REQUEST_GRACE_MS);
  // Those whose request was running are idle later.
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearInterval(idle);
  clearTimeout(overdue);
}

function listenTo(
  signals: readonly NodeJS.Signals[],
  shutdown: () => Promise<unknown>,
  onError: ((error: unknown) => void) | undefined,
): void {
  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    const atMs = performance.now();
    if (first === undefined) {
      first = { signal, atMs };
      void shutdown().catch((error: unknown) => {
        // The next signal is a first one again.
        first = undefined;
        if (onError === undefined) throw error;
        onError(error);
      });
    } else if (signal !== first.signal || atMs - first.atMs > SAME_SIGNAL_MS) {
      process.exit(128 + constants.signals[signal]);
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
}

function assertMethod(name: string, value: unknown, method: string): void {
  if (typeof (value as Record<string, unknown> | null | undefined)?.[method] === 'function') return;
  throw new TypeError(expected(`${name} to have ${method}()`, value));
}
