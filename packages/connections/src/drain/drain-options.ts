import { assertFunction, assertKeys, assertCount, assertMs, isIterable } from '../arguments.js';
import { assertCloseArguments, CloseCode } from '../close-codes.js';
import type { NativeWebsocket } from '../sockets/native-websocket.js';
import type { DrainProgress } from '../drain-report.js';
import { expected } from '../errors.js';

/** The default pace, in connections per second. */
const DEFAULT_MAX_PER_SECOND = 1_000;
/** Time between two slices of a drain, in ms: one long pause of the event loop becomes many short ones. */
const DEFAULT_INTERVAL_MS = 100;

/** How to drain. `maxPerSecond` or `deadline`, not both. */
export interface DrainOptions {
  /**
   * Connections closed in any one second, over all namespaces. Nodes of a cluster that drain at the same time share the
   * lowest of their rates; each waits 250 ms before its first close, up to a tenth of `nodeTimeout` if it has just joined,
   * and 1,250 ms if another one drains already, so that they hear of each other. If the rate is lower than the number of
   * these nodes, some of them wait until others are done. Range: an integer of at least 1.
   *
   * @default 1000
   */
  readonly maxPerSecond?: number | undefined;

  /**
   * Empties the pool within this many ms: the pace follows from the number of connections, and slows down as some
   * leave by themselves. Connections that are still open then are terminated. The last `grace` ms, at most half of the
   * time, are left for answers to the close frames. A deadline goes before the rate that nodes of a cluster share: see
   * `beyondShare` in the report. Range: 1 or more.
   */
  readonly deadline?: number | undefined;

  /**
   * Time between two slices in ms: each closes its share of the rate. Small slices keep the event loop free: to
   * close 2,000 a second, 100 ms means 200 at a time. Range: 1 to 1000.
   *
   * @default 100
   */
  readonly interval?: number | undefined;

  /**
   * Randomises the order, and the time between two slices by up to this share of it. Range: 0 to 1.
   *
   * @default 0
   */
  readonly jitter?: number | undefined;

  /** @default 1012 (Service Restart: come back); 1000 tells clients not to */
  readonly code?: number | undefined;

  /** At most 123 bytes of UTF-8. @default '' */
  readonly reason?: string | undefined;

  /**
   * How long a peer may take to answer its close frame before it is terminated, in ms. Range: 1 to
   * 2147483647.
   *
   * @default the pool's `closeTimeout`
   */
  readonly grace?: number | undefined;

  /**
   * Aborts the drain: the promise rejects with the signal's reason, and the pool takes newcomers again. The signal of a
   * call that joined a running drain rejects that call only.
   */
  readonly signal?: AbortSignal | undefined;

  /**
   * Called after each slice, and at each interval while the last answers are awaited. If it throws or rejects, that is
   * an `error` event of the pool.
   */
  readonly onProgress?: ((progress: DrainProgress) => unknown) | undefined;

  /**
   * Open sockets that are in no pool, such as the `clients` of a `WebSocketServer`: they are closed under the same
   * limit, with the same code. Sockets of a pool's connections are left out. They do not appear in the report.
   *
   * @default none
   */
  readonly sockets?: Iterable<NativeWebsocket> | undefined;
}

/** The options of a drain, checked, with their defaults. */
export interface DrainPlan {
  /** Bound of any one second; infinite where a deadline sets the pace. */
  readonly maxPerSecond: number;
  /** Connections at a time, where no deadline sets the pace. */
  readonly slice: number;
  readonly intervalMs: number;
  readonly deadlineMs: number | undefined;
  readonly jitter: number;
  readonly code: number;
  readonly reason: string;
  readonly graceMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: DrainProgress) => unknown) | undefined;
  readonly sockets: Iterable<NativeWebsocket>;
}

/** @throws {TypeError | RangeError} an argument or option is wrong; see `drainConnections` */
export function planFrom(
  rateOrOptions: number | DrainOptions = DEFAULT_MAX_PER_SECOND,
  reason = '',
  code: number = CloseCode.ServiceRestart,
  closeTimeoutMs: number,
): DrainPlan {
  const isOptions = typeof rateOrOptions === 'object' && (rateOrOptions as DrainOptions | null) !== null;
  if (isOptions) {
    const plan = planDrain(rateOrOptions, closeTimeoutMs);
    // Some iterables can be read only once, and a drain that goes on in the place of an aborted one reads them again.
    return { ...plan, sockets: [...plan.sockets] };
  }
  return planBatches(rateOrOptions as number, reason, code, closeTimeoutMs);
}

/** The positional form: whole batches, a second apart. @throws {TypeError | RangeError} an argument is wrong */
function planBatches(maxPerSecond: number, reason: string, code: number, graceMs: number): DrainPlan {
  assertCount('maxPerSecond', maxPerSecond);
  assertCloseArguments(code, reason);
  const [intervalMs, jitter] = [1_000, 0];
  const rest = { deadlineMs: undefined, signal: undefined, onProgress: undefined, sockets: [] };
  return { maxPerSecond, slice: maxPerSecond, intervalMs, jitter, code, reason, graceMs, ...rest };
}

const DRAIN_OPTIONS = [
  'maxPerSecond',
  'deadline',
  'interval',
  'jitter',
  'code',
  'reason',
  'grace',
  'signal',
  'onProgress',
  'sockets',
] as const satisfies readonly (keyof DrainOptions)[];

/** @throws {TypeError | RangeError} an option is wrong or unknown */
export function planDrain(options: DrainOptions, closeTimeoutMs: number): DrainPlan {
  assertKeys('the drain options', options, DRAIN_OPTIONS);
  const { maxPerSecond, deadline, signal, onProgress, sockets = [] } = options;
  const { interval = DEFAULT_INTERVAL_MS, jitter = 0, grace = closeTimeoutMs } = options;
  const { code = CloseCode.ServiceRestart, reason = '' } = options;
  assertMs('interval', interval, 1_000);
  assertMs('grace', grace);
  assertJitter(jitter);
  assertCloseArguments(code, reason);
  assertSignal(signal);
  assertFunction('onProgress', onProgress);
  assertSockets(sockets);
  const common = { jitter, code, reason, graceMs: grace, signal, onProgress, sockets };
  if (deadline !== undefined) {
    if (maxPerSecond !== undefined) throw new TypeError('Expected maxPerSecond or deadline, got both');
    assertMs('deadline', deadline);
    return { ...common, maxPerSecond: Infinity, slice: 0, intervalMs: interval, deadlineMs: deadline };
  }
  const rate = maxPerSecond === undefined ? DEFAULT_MAX_PER_SECOND : maxPerSecond;
  assertCount('maxPerSecond', rate);
  const slice = Math.max(1, Math.round((rate * interval) / 1_000));
  return { ...common, maxPerSecond: rate, slice, intervalMs: (slice / rate) * 1_000, deadlineMs: undefined };
}

function assertJitter(jitter: unknown): void {
  if (typeof jitter !== 'number') throw new TypeError(expected('jitter to be a number', jitter));
  if (!(jitter >= 0 && jitter <= 1)) throw new RangeError(expected('jitter to be between 0 and 1', jitter));
}

function assertSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(expected('signal to be an AbortSignal', signal));
}

function assertSockets(sockets: unknown): void {
  if (!isIterable(sockets)) throw new TypeError(expected('sockets to be an iterable of sockets', sockets));
}
