import { hostname } from 'node:os';
import { assertKeys, assertMs } from '../arguments.js';
import { expected } from '../errors.js';
import type { ClusterAdapter } from './adapter.js';

/** Settings of a pool's part in a cluster. All times in ms, from 1 to 2147483647; kept to about 100 ms. */
export interface ClusterOptions {
  /** What other nodes and `missing` call this node; need not be unique. @default the host's name and the process id */
  readonly nodeName?: string | undefined;
  /** How often a node says that it is alive. @default 3_000 */
  readonly heartbeat?: number | undefined;
  /** After this silence a node counts as lost; at least twice the `heartbeat`. @default 10_000, or three heartbeats */
  readonly nodeTimeout?: number | undefined;
  /** How long a `send`, a `close` or a `count` waits for the answers of other nodes. @default 1_000 */
  readonly requestTimeout?: number | undefined;
  /** How long `newConnection` waits at most until its namespace is subscribed to. @default 1_000 */
  readonly joinTimeout?: number | undefined;
  /**
   * Memory that may wait for the broker, in bytes: what is published and not confirmed yet counts too, and takes at most
   * half of it. A batch (what one turn says in one namespace) counts 512 bytes beside its own, 3,072 once it is published.
   * The oldest messages are dropped beyond it, and a message that is longer is not relayed at all
   * (`ERR_RELAY_TOO_LARGE`). Range: an integer of at least 65536.
   *
   * @default 16_777_216 (16 MiB)
   */
  readonly maxQueuedBytes?: number | undefined;
  /** How long a message may wait for the broker before it is dropped. @default 2_000 */
  readonly maxQueuedMs?: number | undefined;
}

/** The options, checked, with their defaults. */
export type ClusterSettings = { readonly [Key in keyof ClusterOptions]-?: NonNullable<ClusterOptions[Key]> };

const DEFAULTS = {
  heartbeat: 3_000,
  nodeTimeout: 10_000,
  requestTimeout: 1_000,
  joinTimeout: 1_000,
  maxQueuedMs: 2_000,
} as const;
/** A node is lost when this many of its heartbeats are missing, if only the heartbeat is set. */
const MISSED_HEARTBEATS = 3;
const DEFAULT_MAX_QUEUED_BYTES = 16 * 1024 * 1024;
/** The least that every broker takes in one message. */
const MIN_QUEUED_BYTES = 65_536;

const TIMES = Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[];
const KEYS = [...TIMES, 'nodeName', 'maxQueuedBytes'];
const METHODS = ['start', 'subscribe', 'unsubscribe', 'publish', 'resubscribe', 'close'] as const;

/**
 * @throws {TypeError} an option is unknown or has the wrong type
 * @throws {RangeError} a number is out of range
 */
export function resolveClusterOptions(options: ClusterOptions = {}): ClusterSettings {
  assertKeys('cluster', options, KEYS);
  const { nodeName = `${hostname()}:${process.pid}`, maxQueuedBytes = DEFAULT_MAX_QUEUED_BYTES } = options;
  if (typeof nodeName !== 'string')
    throw new TypeError(expected('cluster.nodeName to be a string', nodeName));
  if (typeof maxQueuedBytes !== 'number') {
    throw new TypeError(expected('cluster.maxQueuedBytes to be a number of bytes', maxQueuedBytes));
  }
  if (!Number.isSafeInteger(maxQueuedBytes) || maxQueuedBytes < MIN_QUEUED_BYTES) {
    throw new RangeError(
      expected(
        `cluster.maxQueuedBytes to be an integer of at least ${MIN_QUEUED_BYTES} bytes`,
        maxQueuedBytes,
      ),
    );
  }
  const times = { ...DEFAULTS } as Record<keyof typeof DEFAULTS, number>;
  for (const name of TIMES) {
    if (options[name] === undefined) continue;
    assertMs(`cluster.${name}`, options[name]);
    times[name] = options[name];
  }
  // A slower heartbeat alone is no contradiction: the default was chosen for the default.
  if (options.nodeTimeout === undefined)
    times.nodeTimeout = Math.max(DEFAULTS.nodeTimeout, MISSED_HEARTBEATS * times.heartbeat);
  if (times.nodeTimeout < 2 * times.heartbeat) {
    const least = `at least twice the heartbeat of ${times.heartbeat} ms`;
    throw new RangeError(expected(`cluster.nodeTimeout to be ${least}`, times.nodeTimeout));
  }
  return { nodeName, maxQueuedBytes, ...times };
}

/** @throws {TypeError} not an adapter */
export function assertAdapter(adapter: unknown): asserts adapter is ClusterAdapter | undefined {
  if (adapter === undefined) return;
  const methods = adapter as Record<string, unknown> | null;
  if (typeof methods === 'object' && METHODS.every((name) => typeof methods?.[name] === 'function')) return;
  throw new TypeError(expected('adapter to be an adapter, such as redisAdapter({ client })', adapter));
}
