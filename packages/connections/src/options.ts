import { assertMs } from './arguments.js';
import { expected } from './errors.js';

/** Idle limit that `updateTimeout()` starts where the pool does not say otherwise, in ms. */
export const DEFAULT_IDLE_TIMEOUT_MS = 120_000;
/** Time a peer has to answer our close frame before it is terminated, in ms. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 10_000;
/** Bytes that may wait for one connection before it counts as a slow reader. */
export const DEFAULT_MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
/** What `compression: { history: true }` means. */
const DEFAULT_HISTORY_BYTES = 8 * 1024;
/** Below the smallest window (RFC 7692 §7.1.2.1) it gains nothing. */
const MIN_HISTORY_BYTES = 512;
/** The largest window of permessage-deflate. */
const MAX_HISTORY_BYTES = 32 * 1024;
/** What `heartbeat: true` means, in ms. */
const DEFAULT_HEARTBEAT = { interval: 30_000, timeout: 10_000 };

/** What becomes of a message that would exceed `maxBufferedBytes`. */
export type SlowDecision = 'close' | 'drop' | 'send';

/** Decides about one message for one slow connection. Called for each such message; must not throw. */
export type SlowPolicy<C> = (connection: C, message: { readonly byteLength: number }) => SlowDecision;

/** Settings of a pool. Every one has a default; a wrong one throws in the constructor. */
export interface ConnectionsPoolOptions<C = unknown> {
  /**
   * What happens when a connection joins under an id that a live one holds in that namespace.
   *
   * `'reject'`: `newConnection` rejects with `ERR_DUPLICATE_CONNECTION` and nothing changes. `'replace'`: the new
   * one takes the place at once and the old one is closed with 4409.
   *
   * @default 'reject'
   */
  readonly onDuplicate?: 'reject' | 'replace';

  /**
   * Idle limit in ms for every connection of the pool, running from the moment it joins and again from each
   * message or pong received. A connection that reaches it is closed with 4408. Range: more than 0, up to
   * 2147483647; checked about every 100 ms.
   *
   * @default none: a connection has no idle limit until its `updateTimeout()` is called, which then means 120 s
   */
  readonly idleTimeout?: number;

  /**
   * Grace period in ms between our close frame and the end of a peer that does not answer it: the connection is
   * then terminated and reports 1006. Range: 1 to 2147483647.
   *
   * @default 10_000
   */
  readonly closeTimeout?: number;

  /**
   * Bytes that may wait for one connection, in its socket and in the current turn of the event loop together,
   * before it counts as a slow reader: a message that would exceed them is not queued (see `onSlow`). A message
   * larger than this is never sent. Range: an integer of at least 1. Without effect on a socket that does not
   * tell its `bufferedAmount`.
   *
   * @default 16_777_216 (16 MiB)
   */
  readonly maxBufferedBytes?: number;

  /**
   * What happens to a connection and a message that exceeds `maxBufferedBytes`.
   *
   * `'close'`: the connection is closed with 1013, and terminated after `closeTimeout`, as a slow reader will
   * not read the close frame either. `'drop'`: this message is not queued for it; later ones are, once there is
   * room. A function decides for each message: `'close'`, `'drop'`, or `'send'` to queue it all the same.
   *
   * @default 'close'
   */
  readonly onSlow?: 'close' | 'drop' | SlowPolicy<C>;

  /**
   * `history`: compresses each broadcast once for all `ws` clients of a namespace that negotiated permessage-deflate
   * with context takeover, as browsers do by default, instead of once for each. The namespace keeps the last bytes
   * of what it has broadcast, which every client's window ends with, as the dictionary of the next broadcast. `true`
   * means 8 KiB; `{ bytes }` ranges from 512 to 32768.
   *
   * Its conditions: private messages to such clients go out uncompressed, and whatever is sent on a socket behind
   * the library's back is compressed on its own. Needs `ws` 8; without it, and for clients that agreed to no
   * context takeover, nothing changes.
   *
   * @default off: such sockets compress for themselves
   * @see RFC 7692 §7.1.1.1, §7.2.1
   */
  readonly compression?: { readonly history?: boolean | { readonly bytes?: number } };

  /**
   * Finds peers that are gone without a word: one ping per connection and `interval`; a peer from which nothing
   * at all, pong or message, arrives for `timeout` after it is terminated and reports 1006. `true` means every
   * 30 s, with 10 s to answer. Both in ms; range: 1 to 2147483647, and `timeout` at most
   * `interval`; noticed within about 100 ms, so that intervals below 300 ms are not kept exactly. The pings of all
   * connections are spread evenly over the interval, at thirty moments.
   * Sockets that cannot ping (`capabilities.ping`) have no heartbeat: give them an `idleTimeout`.
   *
   * @default false
   * @see RFC 6455 §5.5.2
   */
  readonly heartbeat?: boolean | HeartbeatOptions;
}

/** See `heartbeat` of the pool. */
export interface HeartbeatOptions {
  /** From ping to ping, in ms. @default 30_000 */
  readonly interval?: number;
  /** From ping to termination when nothing arrives, in ms; at most `interval`. @default 10_000, or the interval if shorter */
  readonly timeout?: number;
}

/** `options` with the defaults filled in, checked. */
export interface PoolSettings<C = never> {
  readonly maxBufferedBytes: number;
  readonly onSlow: 'close' | 'drop' | SlowPolicy<C>;
  readonly onDuplicate: 'reject' | 'replace';
  readonly idleTimeout: number | undefined;
  readonly closeTimeout: number;
  /** 0 for no shared history. */
  readonly historyBytes: number;
  readonly heartbeat: { readonly interval: number; readonly timeout: number } | undefined;
}

/**
 * @throws {TypeError} the options are no object, or one of them has the wrong type
 * @throws {RangeError} a number is out of range
 */
export function resolveOptions<C>(options: ConnectionsPoolOptions<C>): PoolSettings<C> {
  assertObject('the pool options', options);
  const { onDuplicate = 'reject', onSlow = 'close', idleTimeout } = options;
  const { closeTimeout = DEFAULT_CLOSE_TIMEOUT_MS, maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES } = options;
  assertOneOf('onDuplicate', ['reject', 'replace'], onDuplicate);
  if (typeof onSlow !== 'function') assertOneOf('onSlow', ['close', 'drop'], onSlow);
  if (idleTimeout !== undefined) assertMs('idleTimeout', idleTimeout);
  assertMs('closeTimeout', closeTimeout);
  assertBytes('maxBufferedBytes', maxBufferedBytes);
  const heartbeat = resolveHeartbeat(options.heartbeat);
  const historyBytes = resolveHistory(options.compression);
  return { onDuplicate, onSlow, idleTimeout, closeTimeout, maxBufferedBytes, heartbeat, historyBytes };
}

function resolveHistory(compression: ConnectionsPoolOptions['compression'] = {}): number {
  assertObject('compression', compression);
  const { history = false } = compression;
  if (history === false) return 0;
  if (history === true) return DEFAULT_HISTORY_BYTES;
  assertObject('compression.history', history);
  const { bytes = DEFAULT_HISTORY_BYTES } = history;
  if (typeof bytes !== 'number')
    throw new TypeError(expected('compression.history.bytes to be a number', bytes));
  if (Number.isInteger(bytes) && bytes >= MIN_HISTORY_BYTES && bytes <= MAX_HISTORY_BYTES) return bytes;
  const range = `an integer from ${MIN_HISTORY_BYTES} to ${MAX_HISTORY_BYTES}`;
  throw new RangeError(expected(`compression.history.bytes to be ${range}`, bytes));
}

function resolveHeartbeat(heartbeat: boolean | HeartbeatOptions | undefined): PoolSettings['heartbeat'] {
  if (heartbeat === undefined || heartbeat === false) return undefined;
  if (heartbeat === true) return DEFAULT_HEARTBEAT;
  assertObject('heartbeat', heartbeat);
  const { interval = DEFAULT_HEARTBEAT.interval } = heartbeat;
  assertMs('heartbeat.interval', interval);
  const { timeout = Math.min(DEFAULT_HEARTBEAT.timeout, interval) } = heartbeat;
  // A ping is only sent when the last one has been answered or has cost the peer its connection.
  assertMs('heartbeat.timeout', timeout, interval);
  return { interval, timeout };
}

function assertObject(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) return;
  throw new TypeError(expected(`${name} to be an object`, value));
}

function assertOneOf(name: string, allowed: readonly string[], value: unknown): void {
  if (typeof value === 'string' && allowed.includes(value)) return;
  throw new TypeError(expected(`${name} to be '${allowed.join("' or '")}'`, value));
}

function assertBytes(name: string, bytes: unknown): void {
  if (typeof bytes !== 'number') throw new TypeError(expected(`${name} to be a number of bytes`, bytes));
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RangeError(expected(`${name} to be an integer of at least 1 byte`, bytes));
  }
}
