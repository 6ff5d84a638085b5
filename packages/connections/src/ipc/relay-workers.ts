import cluster from 'node:cluster';
import { assertKeys } from '../arguments.js';
import { expected } from '../errors.js';
import { Peers, type RelayedWorker } from './peers.js';
import {
  carriesBytes,
  FIRST_SESSION,
  isOurs,
  isPacked,
  KIND,
  pack,
  PROBE,
  type FromPrimary,
} from './protocol.js';

/** Options of {@link relayWorkers}. */
export interface WorkerRelayOptions {
  /**
   * Messages that one worker has not read yet may take this much memory of the primary, in bytes. Further messages for
   * this worker are dropped; the others still get them. Range: above 0.
   *
   * @default 33_554_432 (32 MiB)
   */
  readonly maxUnsentBytes?: number;
}

/** What {@link relayWorkers} returns. */
export interface WorkerRelay {
  /** Messages that were dropped for workers that do not read. Their pools count them as lost when they go on. */
  readonly dropped: number;
  /** Stops. The pools of the workers go on alone. */
  close(): void;
}

/** The primary side of `node:cluster`, as far as it is used here. */
export interface Workers {
  readonly workers?: Readonly<Record<string, RelayedWorker | undefined>>;
  on(event: 'message', listener: (worker: RelayedWorker, message: unknown) => void): unknown;
  on(event: 'disconnect' | 'exit', listener: (worker: RelayedWorker) => void): unknown;
  off(event: 'message', listener: (worker: RelayedWorker, message: unknown) => void): unknown;
  off(event: 'disconnect' | 'exit', listener: (worker: RelayedWorker) => void): unknown;
}

/** What a message takes besides its bytes, approximately, in bytes. */
const MESSAGE_OVERHEAD_BYTES = 512;
/** What JSON makes of a control character. */
const MAX_CHARACTER_BYTES = 6;

/** Has the primary of this process relay: a second relay would deliver everything twice. */
let current: PrimaryRelay | undefined;

/**
 * Has the primary of `node:cluster` carry the messages between the workers that use `ipcAdapter()`. Call it once, before
 * the first fork or later. Listeners of your own for the `message` event of `cluster` see these messages too: each has
 * the field `soketi:relay`.
 *
 * @throws {TypeError | RangeError} an option is unknown, of the wrong type or out of range
 * @throws {Error} this process is not a primary, or it relays already
 */
export function relayWorkers(options: WorkerRelayOptions = {}): WorkerRelay {
  assertKeys('the options of relayWorkers', options, ['maxUnsentBytes']);
  const { maxUnsentBytes = 32 * 1024 * 1024 } = options;
  if (typeof maxUnsentBytes !== 'number')
    throw new TypeError(expected('maxUnsentBytes to be a number of bytes', maxUnsentBytes));
  if (!(maxUnsentBytes > 0)) throw new RangeError(expected('maxUnsentBytes to be above 0', maxUnsentBytes));
  if (!cluster.isPrimary) throw new Error('Expected to be in the primary of node:cluster');
  if (current !== undefined) throw new Error('This process relays already: call relayWorkers() once');
  const relay = new PrimaryRelay(cluster, maxUnsentBytes, () => (current = undefined));
  current = relay;
  return relay;
}

/** @internal */
export class PrimaryRelay implements WorkerRelay {
  dropped = 0;
  readonly #cluster: Workers;
  readonly #maxUnsentBytes: number;
  readonly #onClosed: () => void;
  readonly #peers = new Peers();

  constructor(workers: Workers, maxUnsentBytes: number, onClosed: () => void = () => undefined) {
    this.#cluster = workers;
    this.#maxUnsentBytes = maxUnsentBytes;
    this.#onClosed = onClosed;
    workers.on('message', this.#onMessage);
    workers.on('disconnect', this.#onGone);
    workers.on('exit', this.#onGone);
    this.#announce('started');
  }

  close(): void {
    this.#cluster.off('message', this.#onMessage);
    this.#cluster.off('disconnect', this.#onGone);
    this.#cluster.off('exit', this.#onGone);
    this.#announce('stopped');
    this.#peers.clear();
    this.#onClosed();
  }

  #announce(kind: 'started' | 'stopped'): void {
    for (const worker of Object.values(this.#cluster.workers ?? {})) {
      if (worker?.isConnected() === true) send(worker, { [KIND]: kind });
    }
  }

  readonly #onGone = ({ id }: RelayedWorker): void => this.#peers.delete(id);

  /** Believes nothing: it ends the primary if it throws, and all workers with it. */
  readonly #onMessage = (worker: RelayedWorker, message: unknown): void => {
    if (!isOurs(message)) return;
    const { [KIND]: kind, prefix, channel, channels, data, request, session, probe } = message as Untrusted;
    if (typeof prefix !== 'string') return;
    if (kind === 'hello') {
      this.#peers.greet(worker, prefix, session === FIRST_SESSION, carriesBytes(probe));
      send(worker, { [KIND]: 'welcome', prefix, session: numberOf(session), probe: PROBE });
      return;
    }
    const peer = this.#peers.get(worker.id);
    if (peer === undefined) return;
    if (kind === 'message') {
      this.#onPublished(prefix, channel, data);
      return;
    }
    if (kind === 'bye') this.#peers.forget(peer, prefix);
    else if ((kind === 'subscribe' || kind === 'unsubscribe') && Array.isArray(channels))
      for (const each of channels) this.#peers[kind](peer, prefix, stringOf(each));
    else return;
    send(worker, { [KIND]: 'done', prefix, request: numberOf(request) });
  };

  #onPublished(prefix: string, channel: unknown, data: unknown): void {
    if (typeof channel !== 'string' || !isPacked(data)) return;
    for (const peer of this.#peers.subscribersOf(prefix, channel)) {
      const packed = pack(data, peer.carriesBytes);
      const bytes = packed.length + channel.length * MAX_CHARACTER_BYTES + MESSAGE_OVERHEAD_BYTES;
      if (peer.unsentBytes + bytes > this.#maxUnsentBytes) {
        this.dropped++;
        continue;
      }
      peer.unsentBytes += bytes;
      const message = { [KIND]: 'message', prefix, channel, data: packed } as const;
      send(peer.worker, message, () => (peer.unsentBytes -= bytes));
    }
  }
}

/** The fields of all kinds of messages, none of which need to be there. */
type Untrusted = Readonly<
  Record<typeof KIND | 'prefix' | 'channel' | 'channels' | 'data' | 'request' | 'session' | 'probe', unknown>
>;

// Not by conversion: what a worker sends can be made so that it throws.
const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);
const stringOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** With a callback, a worker that is gone is no `error` event, which would end the primary. */
function send(worker: RelayedWorker, message: FromPrimary, sent: () => void = () => undefined): void {
  worker.send(message, undefined, undefined, sent);
}
