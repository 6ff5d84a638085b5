import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { assertFunction, assertKeys, assertMethod, assertMs } from '../arguments.js';
import { expected } from '../errors.js';
import { planDrain, type DrainOptions } from './drain-options.js';
import { drainWithOthers } from './draining-servers.js';
import type { DrainReport } from '../drain-report.js';
import { DEFAULT_CLOSE_TIMEOUT_MS } from '../options.js';
import type { NativeWebsocket } from '../sockets/native-websocket.js';
import { assertRetryAfter, DEFAULT_RETRY_AFTER_SECONDS } from '../upgrades/refusal.js';
import { UpgradeGate } from '../upgrades/upgrade-gate.js';

/** How long requests that are still running may take once the pool is empty, in ms. */
const REQUEST_GRACE_MS = 5_000;
/** How often idle connections are closed meanwhile, in ms. */
const IDLE_CHECK_MS = 50;
/**
 * A signal that comes again within this many ms is the same one: Ctrl-C in a terminal reaches the whole process
 * group, and `npm start` passes it on once more.
 */
const SAME_SIGNAL_MS = 500;

/** A `WebSocketServer` of `ws`. */
export interface ClosableWebSocketServer {
  readonly clients?: Iterable<{ terminate(): void }>;
  close(callback?: (error?: Error) => void): void;
}

/** A client of it. */
type Client = NativeWebsocket & { terminate(): void };

/** What to shut down, and how. */
export interface GracefulShutdownOptions {
  /**
   * The HTTP or HTTPS server that takes the upgrades. Make the shutdown before it listens, and one for each pool if its
   * clients are in several: it closes when all that have begun are drained.
   */
  readonly server: Server;
  /** The pool to drain. Several servers may share one: it is drained once. */
  readonly pool: {
    drainConnections(options: DrainOptions): Promise<DrainReport>;
    /** Is left after the drain. */
    readonly cluster?: { leave(): Promise<void> };
  };
  /**
   * The `WebSocketServer` of `ws`. Its clients that are in no pool are closed with the others, under the same limit and
   * with the same code.
   */
  readonly webSocketServer?: ClosableWebSocketServer | undefined;
  /**
   * How long upgrades are still accepted while `isReady` is already `false`, in ms. Set it to the probe period of your
   * load balancer times its failure threshold: until then the balancer sends clients here, and they would be refused.
   * Range: 0, or 1 to 2147483647.
   *
   * @default 0: upgrades are refused at once
   */
  readonly readinessDelay?: number | undefined;
  /**
   * How to drain. Its `signal` aborts the running shutdown; a shutdown that begins later ignores it.
   *
   * @default `{}`: 1,000 connections per second, 100 at a time
   */
  readonly drain?: DrainOptions | undefined;
  /** `Retry-After` of refused upgrades, in seconds. Range: a whole number, 0 or more. @default 5 */
  readonly retryAfter?: number | undefined;
  /**
   * Signals that start the shutdown, such as `['SIGTERM', 'SIGINT']`. A second one ends the process at once with
   * status 128 + its number. When the shutdown is done, the channel of a `node:cluster` worker or another child process
   * to its parent no longer keeps the process alive.
   *
   * @default []: none
   */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
  /**
   * Called when a shutdown that a signal started fails. An abort is not a failure.
   *
   * @default the failure is an unhandled rejection, which ends the process
   */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** A shutdown that is ready to begin. */
export interface GracefulShutdown {
  /**
   * For the readiness probe of a load balancer: `false` from the first instant of the shutdown, `true` again if
   * `drain.signal` has aborted it. Do not use it to refuse upgrades: during `readinessDelay` they are still welcome.
   */
  readonly isReady: boolean;
  /**
   * Resolves when a shutdown is done, whether a signal or a call started it: the place to close a database or a broker.
   * Never rejects.
   */
  readonly closed: Promise<DrainReport>;
  /**
   * Refuses upgrades with 503 and `Retry-After` (after the `readinessDelay`), drains the pool, then closes the servers.
   * Whatever still holds them open 5 s later is cut off, such as requests that do not end. A second call returns
   * the same promise.
   *
   * @returns the report of the drain, when the servers have closed
   * @throws (rejects) the reason with which `drain.signal` was aborted: upgrades are accepted again, and the shutdown
   * may be called again
   */
  shutdown(): Promise<DrainReport>;
}

/**
 * Ties a rolling deploy together for an `http.Server` with `ws`: clients that would be sent away at once are not
 * accepted, and clients are sent away no faster than the other nodes can take them.
 *
 * @throws {TypeError} `server` or `pool` is missing or of another kind, or an option or signal is unknown
 * @throws {TypeError | RangeError} an option of the drain is wrong, or `retryAfter` or `readinessDelay` out of range
 */
export function gracefulShutdown(options: GracefulShutdownOptions): GracefulShutdown {
  assertOptions(options);
  const sockets = socketsOf(options.server);
  let running: Promise<DrainReport> | undefined;
  let onClosed!: (report: DrainReport) => void;
  const closed = new Promise<DrainReport>((resolve) => (onClosed = resolve));
  const begin = async (): Promise<DrainReport> => {
    const drain = drainOf(options);
    // Not at once: whatever the drain calls finds `running` set.
    await Promise.resolve();
    try {
      const report = await run(options, drain, sockets);
      onClosed(report);
      return report;
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
    closed,
    shutdown,
  };
}

const SHUTDOWN_OPTIONS = [
  'server',
  'pool',
  'webSocketServer',
  'readinessDelay',
  'drain',
  'retryAfter',
  'signals',
  'onError',
] as const satisfies readonly (keyof GracefulShutdownOptions)[];

/** Checks everything now, not when the process has to end. */
function assertOptions(options: GracefulShutdownOptions): void {
  assertKeys('the shutdown options', options, SHUTDOWN_OPTIONS);
  const { server, pool, webSocketServer, retryAfter, readinessDelay = 0 } = options;
  assertMethod('server', server, 'close');
  // An HTTP/2 server has none, and its sessions would hold it open.
  assertMethod('server', server, 'closeAllConnections');
  assertMethod('pool', pool, 'drainConnections');
  if (webSocketServer !== undefined) assertMethod('webSocketServer', webSocketServer, 'close');
  assertRetryAfter(retryAfter);
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

/** A signal that has aborted an earlier shutdown does not abort this one: nothing could ever end the process. */
function drainOf({ drain = {} }: GracefulShutdownOptions): DrainOptions {
  const { signal, ...rest } = drain;
  return signal?.aborted ? rest : drain;
}

async function run(
  options: GracefulShutdownOptions,
  drain: DrainOptions,
  sockets: ReadonlySet<Socket>,
): Promise<DrainReport> {
  const { server, pool, webSocketServer } = options;
  let reopen: (() => void) | undefined;
  const drainPool = async (): Promise<DrainReport> => {
    await readinessDelayOf(options, drain);
    reopen = refuseUpgrades(server, options.retryAfter ?? DEFAULT_RETRY_AFTER_SECONDS);
    const clients = [...socketsIn(drain), ...clientsOf(webSocketServer)];
    return pool.drainConnections({ ...drain, sockets: clients });
  };
  let report: DrainReport;
  try {
    report = await drainWithOthers(server, drainPool, drain.signal);
  } catch (error) {
    if (drain.signal?.aborted) reopen?.();
    throw error;
  }
  // Sockets that the drain did not know of, such as those of a handshake that ended meanwhile.
  for (const socket of clientsOf(webSocketServer)) socket.terminate();
  webSocketServer?.close();
  await Promise.all([pool.cluster?.leave(), closeServer(server, sockets)]);
  return report;
}

async function readinessDelayOf(
  { readinessDelay = 0 }: GracefulShutdownOptions,
  { signal }: DrainOptions,
): Promise<void> {
  if (readinessDelay === 0) return;
  // Rejects only for an abort; its reason is then the same as if the drain had begun.
  await delay(readinessDelay, undefined, { signal }).catch(() => signal?.throwIfAborted());
}

function clientsOf(webSocketServer: ClosableWebSocketServer | undefined): Iterable<Client> {
  return (webSocketServer?.clients ?? []) as Iterable<Client>;
}

function socketsIn({ sockets = [] }: DrainOptions): Iterable<NativeWebsocket> {
  return sockets;
}

/** Refuses upgrades with 503. @returns a function that undoes it */
function refuseUpgrades(server: Server, retryAfter: number): () => void {
  const reopen = UpgradeGate.of(server).close(retryAfter);
  // A connection that is kept alive would hold the server open after its last request.
  const onRequest = (_request: unknown, response: ServerResponse): void => {
    response.setHeader('Connection', 'close');
  };
  server.prependListener('request', onRequest);
  return () => {
    server.off('request', onRequest);
    reopen();
  };
}

/** Closes the server and waits until it is, even if its owner is closing it already. */
async function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  // `listen()` may still be looking up its host.
  server.once('listening', () => server.close());
  const closed = new Promise((resolve) => server.once('close', resolve));
  // It may be about to emit `close`, or may never do: its owner passes sockets to it that another server has accepted.
  const closedOrIdle = server.listening ? closed : Promise.race([closed, allGone(sockets)]);
  if (server.listening) server.close();
  const overdue = setTimeout(() => {
    server.closeAllConnections();
    // The server does not know sockets that were upgraded, or have not finished their TLS handshake.
    for (const socket of sockets) socket.destroy();
  }, REQUEST_GRACE_MS);
  // Connections whose request was running become idle later.
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  await closedOrIdle;
  clearInterval(idle);
  clearTimeout(overdue);
}

async function allGone(sockets: ReadonlySet<Socket>): Promise<void> {
  // Not `size`: a destroyed socket may emit `close` after the server itself does.
  for (let open = openOf(sockets); open.length > 0; open = openOf(sockets))
    await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  // If the server is being closed, it says so now.
  await delay(0);
}

const openOf = (sockets: ReadonlySet<Socket>): Socket[] => [...sockets].filter(({ destroyed }) => !destroyed);

function listenTo(options: GracefulShutdownOptions, shutdown: () => Promise<unknown>): void {
  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | undefined;
  const begin = async (): Promise<void> => {
    const { signal } = drainOf(options);
    try {
      await shutdown();
      // The signal handler has replaced the default end of the process. Not `disconnect()`: that ends a worker of
      // node:cluster at once, in the middle of what its program does when the shutdown is done.
      process.channel?.unref();
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

/** They end or stop a process without its knowing. */
const UNSEEN_SIGNALS: ReadonlySet<string> = new Set(['SIGKILL', 'SIGSTOP']);

function assertSignals(signals: unknown): void {
  const isKnown = (name: unknown): boolean =>
    typeof name === 'string' && Object.hasOwn(constants.signals, name) && !UNSEEN_SIGNALS.has(name);
  if (Array.isArray(signals) && signals.every(isKnown)) return;
  throw new TypeError(expected("signals to be names such as 'SIGTERM'", signals));
}
