import { assertCount, assertKeys, assertMs, assertOneOf } from './arguments.js';
import type { ClusterAdapter } from './cluster/adapter.js';
import {
  assertAdapter,
  resolveClusterOptions,
  type ClusterOptions,
  type ClusterSettings,
} from './cluster/cluster-options.js';
import { expected } from './errors.js';

/** Idle limit that `updateTimeout()` starts if the pool has none, in ms. */
export const DEFAULT_IDLE_TIMEOUT_MS = 120_000;
/** Time a peer has to answer our close frame before it is terminated, in ms. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 10_000;
/** Bytes that may wait for one connection before it counts as a slow reader. */
export const DEFAULT_MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
/** How long broadcasts may hold the event loop at a time, in ms. */
const DEFAULT_MAX_FLUSH_MS = 25;
/** Rooms that a connection may be in. */
const DEFAULT_MAX_ROOMS = 100;
/** Bytes in its socket above which a reader is behind. */
export const DEFAULT_CONFLATE_ABOVE_BYTES = 64 * 1024;
/** What `compression: { history: true }` means. */
const DEFAULT_HISTORY_BYTES = 8 * 1024;
/** A history smaller than this gains nothing, in bytes. */
const MIN_HISTORY_BYTES = 512;
/** The largest window of permessage-deflate. */
const MAX_HISTORY_BYTES = 32 * 1024;
/** What `heartbeat: true` means, in ms. */
const DEFAULT_HEARTBEAT = { interval: 30_000, timeout: 10_000 };

/** What becomes of a message that would exceed `maxBufferedBytes`: see `onSlow`. */
export type SlowDecision = 'close' | 'drop' | 'send';

/** Decides about one message for one slow connection. Called for each such message; must not throw. */
export type SlowPolicy<C> = (connection: C, message: { readonly byteLength: number }) => SlowDecision;

/** What becomes of a message that exceeds `rateLimit`: see its `onExceeded`. */
export type RateDecision = 'close' | 'drop' | 'pause' | 'accept';

/** Decides about one message that exceeds the rate limit. Called for each such message; must not throw. */
export type RatePolicy<C> = (connection: C, message: { readonly byteLength: number }) => RateDecision;

/** Settings of a pool. Every one has a default; a wrong one throws in the constructor. */
export interface ConnectionsPoolOptions<C = unknown> {
  /**
   * What happens when a connection joins under an id that a live one holds in that namespace.
   *
   * `'reject'`: the newcomer is closed with 1013 and reported by `refused` with `ERR_DUPLICATE_CONNECTION`; nothing
   * else changes. `'replace'`: the newcomer takes the place at once, and the old connection is closed with 4409.
   *
   * @default 'reject'
   */
  readonly onDuplicate?: 'reject' | 'replace' | undefined;

  /**
   * Idle limit in ms for every connection of the pool, from the moment it joins and again from each message, ping or
   * pong received. Answers to our own heartbeat do not count; bytes of a message that is still arriving do. A
   * connection that reaches the limit is closed with 4408. Range: 1 to 2147483647; noticed within about 100 ms.
   *
   * @default none: a connection has no idle limit until its `updateTimeout()` is called, which then means 120 s
   */
  readonly idleTimeout?: number | undefined;

  /**
   * How long a peer may take to answer our close frame before the connection is terminated and reports 1006, in ms.
   * Also how long messages are held for a connection without `message` listener. Range: 1 to 2147483647.
   *
   * @default 10_000
   */
  readonly closeTimeout?: number | undefined;

  /**
   * Memory that may wait for one connection, in its socket and in the current turn of the event loop, before it counts
   * as a slow reader: a message that would exceed it is not queued (see `onSlow`). For `ws`, each write that waits
   * counts 320 bytes beside its payload. A message larger than this is never sent. Range: an integer of at least 1.
   * Without effect on sockets that do not tell their `bufferedAmount`.
   *
   * @default 16_777_216 (16 MiB)
   */
  readonly maxBufferedBytes?: number | undefined;

  /**
   * What happens when a message would exceed `maxBufferedBytes`.
   *
   * `'close'`: the connection is closed with 1013 and, because a slow reader will not read the close frame either,
   * terminated after `closeTimeout`. `'drop'`: this message is not queued for it; later ones are, once there is room. A
   * function decides for each message: `'close'`, `'drop'`, or `'send'` to queue it all the same.
   *
   * The answers to a client's pings wait too, and cannot be dropped: a client that pings and does not read is closed at
   * twice `maxBufferedBytes`, unless the function answers `'send'`. It is then asked about 0 bytes.
   *
   * @default 'close'
   */
  readonly onSlow?: 'close' | 'drop' | SlowPolicy<C> | undefined;

  /**
   * `history`: compresses each broadcast once for all `ws` clients of a namespace that negotiated permessage-deflate
   * with context takeover, as browsers do by default, instead of once per client. The dictionary is the namespace's
   * recent broadcasts, which every client already has. `true` means 8 KiB of them; `{ bytes }` ranges from 512 to
   * 32768.
   *
   * Private messages to such clients go out uncompressed, and messages that are sent on a socket directly are compressed
   * on their own. Needs `ws` 8. Clients that negotiated no context takeover are not affected.
   *
   * @default off: such sockets compress each message themselves
   * @see RFC 7692 §7.1.1.1, §7.2.1
   */
  readonly compression?:
    { readonly history?: boolean | { readonly bytes?: number | undefined } | undefined } | undefined;

  /**
   * Finds peers that have gone without a word: one ping per connection and `interval`. A peer from which nothing
   * arrives for `timeout` after it, not even part of a frame, and which takes none of the bytes that wait for it, is
   * terminated and reports 1006. `true` means every 30 s, with 10 s to answer. Both in ms; range: 1 to 2147483647, and
   * `timeout` at most `interval`. Noticed within about 100 ms; intervals below 300 ms are not kept exactly. Pings are
   * spread evenly over the interval. A connection whose `ws` socket is paused gets ten times the timeout.
   *
   * Sockets that cannot ping (`capabilities.ping`) have no heartbeat: give them an `idleTimeout`.
   *
   * @default false
   * @see RFC 6455 §5.5.2
   */
  readonly heartbeat?: boolean | HeartbeatOptions | undefined;

  /**
   * How long broadcasts may hold the event loop before they let it go on and continue in its next turn, in ms. Range: 1
   * to 2147483647. Lower values serve others sooner and cost CPU: a broadcast to 1,000 clients that is interrupted costs
   * about a third more.
   *
   * @default 25
   */
  readonly maxFlushMs?: number | undefined;

  /**
   * How many rooms a connection may be in: `join` throws `ERR_TOO_MANY_ROOMS` above it, because clients often choose the
   * names. Range: an integer of at least 1.
   *
   * @default 100
   */
  readonly maxRoomsPerConnection?: number | undefined;

  /**
   * From how many bytes on that wait in its socket a reader is behind: messages with a `conflate` key are then held back
   * until there is room, and a newer one replaces the one that is held under the same key. Range: an integer of at least
   * 1.
   *
   * @default 65_536 (64 KiB)
   */
  readonly conflateAboveBytes?: number | undefined;

  /**
   * How much each client may send, from the moment its connection joins. Counts messages and their payload, after
   * decompression; pings and pongs do not count.
   *
   * @default none
   */
  readonly rateLimit?: RateLimitOptions<C> | undefined;

  /**
   * Connects the pool to those of other nodes: sends, broadcasts and closes then reach the connections of all of them,
   * `onDuplicate: 'replace'` means the whole cluster, ids must be strings, and a `Blob` cannot be sent. What the broker
   * does causes no rejection and delays no local delivery. One adapter serves one pool.
   *
   * @default none: the pool is alone
   */
  readonly adapter?: ClusterAdapter | undefined;

  /** Settings of the pool's part in the cluster. */
  readonly cluster?: ClusterOptions | undefined;
}

/** See `rateLimit` of the pool. At least one of the two rates is needed. */
export interface RateLimitOptions<C = unknown> {
  /** Messages per second in the long run. A number above 0. @default no limit */
  readonly messagesPerSecond?: number | undefined;
  /**
   * Payload per second in the long run, and how much of it may come at once, in bytes. A number above 0. With `'close'`
   * and `'drop'` a larger message always exceeds it. @default no limit
   */
  readonly bytesPerSecond?: number | undefined;
  /**
   * How many messages may come at once. An integer of at least 1; needs `messagesPerSecond`.
   *
   * @default one second's worth, at least 1
   */
  readonly burst?: number | undefined;
  /**
   * What happens to a message that exceeds the limit.
   *
   * `'close'`: the connection is closed with 1008. `'drop'`: the message is ignored. `'pause'`: nothing more is read from
   * the socket, so that TCP slows the client down, and the message waits until the limit allows it, exact to about
   * 100 ms. What has been read already waits too, up to 4 MiB. If the client closes meanwhile, `close` is emitted when
   * all that waits has been delivered, or after `closeTimeout`. A socket that cannot be paused (`capabilities.pause`)
   * drops instead. A function decides for each message: one of these, or `'accept'` to deliver it all the same.
   *
   * @default 'close'
   */
  readonly onExceeded?: 'close' | 'drop' | 'pause' | RatePolicy<C> | undefined;
}

/** See `heartbeat` of the pool. */
export interface HeartbeatOptions {
  /** From ping to ping, in ms. @default 30_000 */
  readonly interval?: number | undefined;
  /** From ping to termination when nothing arrives, in ms; at most `interval`. @default 10_000, or the interval if shorter */
  readonly timeout?: number | undefined;
}

const POOL_OPTIONS = [
  'onDuplicate',
  'idleTimeout',
  'closeTimeout',
  'maxBufferedBytes',
  'onSlow',
  'compression',
  'heartbeat',
  'maxFlushMs',
  'maxRoomsPerConnection',
  'conflateAboveBytes',
  'rateLimit',
  'adapter',
  'cluster',
] as const satisfies readonly (keyof ConnectionsPoolOptions)[];

/** A rate limit, checked, with its defaults. What is not limited is `Infinity`. */
export interface RateLimitSettings<C = never> {
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly burst: number;
  readonly onExceeded: 'close' | 'drop' | 'pause' | RatePolicy<C>;
}

/** The options, checked, with their defaults. */
export interface PoolSettings<C = never> {
  readonly maxBufferedBytes: number;
  readonly onSlow: 'close' | 'drop' | SlowPolicy<C>;
  readonly onDuplicate: 'reject' | 'replace';
  readonly idleTimeout: number | undefined;
  readonly closeTimeout: number;
  readonly maxFlushMs: number;
  readonly maxRoomsPerConnection: number;
  readonly conflateAboveBytes: number;
  /** 0 for no shared history. */
  readonly historyBytes: number;
  readonly heartbeat: { readonly interval: number; readonly timeout: number } | undefined;
  readonly rateLimit: RateLimitSettings<C> | undefined;
  readonly adapter: ClusterAdapter | undefined;
  readonly cluster: ClusterSettings;
}

/**
 * @throws {TypeError} the options are no object, or one of them has the wrong type
 * @throws {RangeError} a number is out of range
 */
export function resolveOptions<C>(options: ConnectionsPoolOptions<C>): PoolSettings<C> {
  assertKeys('the pool options', options, POOL_OPTIONS);
  const {
    onDuplicate = 'reject',
    onSlow = 'close',
    idleTimeout,
    maxFlushMs = DEFAULT_MAX_FLUSH_MS,
    maxRoomsPerConnection = DEFAULT_MAX_ROOMS,
    conflateAboveBytes = DEFAULT_CONFLATE_ABOVE_BYTES,
  } = options;
  const { closeTimeout = DEFAULT_CLOSE_TIMEOUT_MS, maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES } = options;
  assertOneOf('onDuplicate', ['reject', 'replace'], onDuplicate);
  if (typeof onSlow !== 'function') assertOneOf('onSlow', ['close', 'drop'], onSlow);
  if (idleTimeout !== undefined) assertMs('idleTimeout', idleTimeout);
  assertMs('closeTimeout', closeTimeout);
  assertBytes('maxBufferedBytes', maxBufferedBytes);
  assertMs('maxFlushMs', maxFlushMs);
  assertCount('maxRoomsPerConnection', maxRoomsPerConnection);
  assertBytes('conflateAboveBytes', conflateAboveBytes);
  const { adapter } = options;
  assertAdapter(adapter);
  const cluster = resolveClusterOptions(options.cluster);
  const heartbeat = resolveHeartbeat(options.heartbeat);
  const historyBytes = resolveHistory(options.compression);
  return {
    onDuplicate,
    onSlow,
    idleTimeout,
    closeTimeout,
    maxFlushMs,
    maxBufferedBytes,
    maxRoomsPerConnection,
    conflateAboveBytes,
    heartbeat,
    historyBytes,
    rateLimit: resolveRateLimit(options.rateLimit),
    adapter,
    cluster,
  };
}

function resolveRateLimit<C>(rateLimit: RateLimitOptions<C> | undefined): RateLimitSettings<C> | undefined {
  if (rateLimit === undefined) return undefined;
  assertKeys('rateLimit', rateLimit, ['messagesPerSecond', 'bytesPerSecond', 'burst', 'onExceeded']);
  const { messagesPerSecond, bytesPerSecond, burst, onExceeded = 'close' } = rateLimit;
  if (messagesPerSecond === undefined && bytesPerSecond === undefined) {
    throw new TypeError(
      expected('rateLimit to have a messagesPerSecond or a bytesPerSecond', messagesPerSecond),
    );
  }
  if (messagesPerSecond !== undefined) assertRate('rateLimit.messagesPerSecond', messagesPerSecond);
  if (bytesPerSecond !== undefined) assertRate('rateLimit.bytesPerSecond', bytesPerSecond);
  if (burst !== undefined) assertBurst(burst, messagesPerSecond);
  if (typeof onExceeded !== 'function')
    assertOneOf('rateLimit.onExceeded', ['close', 'drop', 'pause'], onExceeded);
  return {
    messagesPerSecond: messagesPerSecond ?? Infinity,
    bytesPerSecond: bytesPerSecond ?? Infinity,
    burst: burst ?? Math.max(messagesPerSecond ?? Infinity, 1),
    onExceeded,
  };
}

function assertRate(name: string, perSecond: unknown): void {
  if (typeof perSecond !== 'number') throw new TypeError(expected(`${name} to be a number`, perSecond));
  if (Number.isFinite(perSecond) && perSecond > 0) return;
  throw new RangeError(expected(`${name} to be a finite number above 0`, perSecond));
}

function assertBurst(burst: unknown, messagesPerSecond: number | undefined): void {
  if (messagesPerSecond === undefined)
    throw new TypeError(expected('rateLimit.burst to come with messagesPerSecond', burst));
  if (typeof burst !== 'number') throw new TypeError(expected('rateLimit.burst to be a number', burst));
  if (Number.isSafeInteger(burst) && burst >= 1) return;
  throw new RangeError(expected('rateLimit.burst to be an integer of at least 1', burst));
}

function resolveHistory(compression: ConnectionsPoolOptions['compression'] = {}): number {
  assertKeys('compression', compression, ['history']);
  const { history = false } = compression;
  if (history === false) return 0;
  if (history === true) return DEFAULT_HISTORY_BYTES;
  assertKeys('compression.history', history, ['bytes']);
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
  assertKeys('heartbeat', heartbeat, ['interval', 'timeout']);
  const { interval = DEFAULT_HEARTBEAT.interval } = heartbeat;
  assertMs('heartbeat.interval', interval);
  const { timeout = Math.min(DEFAULT_HEARTBEAT.timeout, interval) } = heartbeat;
  // A ping is only sent when the last one has been answered or has cost the peer its connection.
  assertMs('heartbeat.timeout', timeout, interval);
  return { interval, timeout };
}

function assertBytes(name: string, bytes: unknown): void {
  if (typeof bytes !== 'number') throw new TypeError(expected(`${name} to be a number of bytes`, bytes));
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RangeError(expected(`${name} to be an integer of at least 1 byte`, bytes));
  }
}
