import cluster from 'node:cluster';
import { carriesBytes, isOurs, isPacked, KIND, pack, PROBE, type FromPrimary } from './protocol.js';

/** Options of {@link relayWorkers}. */
export interface WorkerRelayOptions {
  /**
   * Messages that one worker has not read yet may take this much memory of the primary, in bytes. Further messages for
   * this worker are dropped; the others still get them.
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

/** A worker of `node:cluster`, as far as it is used here. */
export interface RelayedWorker {
  readonly id: number;
  isConnected(): boolean;
  send(message: FromPrimary, handle: undefined, options: undefined, sent: () => void): unknown;
}

/** The primary side of `node:cluster`, as far as it is used here. */
export interface Workers {
  readonly workers?: Readonly<Record<string, RelayedWorker | undefined>>;
  on(event: 'message', listener: (worker: RelayedWorker, message: unknown) => void): unknown;
  on(event: 'disconnect' | 'exit', listener: (worker: RelayedWorker) => void): unknown;
  off(event: 'message', listener: (worker: RelayedWorker, message: unknown) => void): unknown;
  off(event: 'disconnect' | 'exit', listener: (worker: RelayedWorker) => void): unknown;
}

/** What a short message takes besides its bytes, about. */
const MESSAGE_OVERHEAD_BYTES = 512;

/**
 * Has the primary of `node:cluster` carry the messages between the workers that use `ipcAdapter()`. Call it before the
 * first fork or later; once.
 *
 * @throws {Error} this process is not a primary
 */
export function relayWorkers({ maxUnsentBytes = 32 * 1024 * 1024 }: WorkerRelayOptions = {}): WorkerRelay {
  if (!(maxUnsentBytes > 0)) throw new RangeError('Expected maxUnsentBytes to be a number above 0');
  if (!cluster.isPrimary) throw new Error('Expected to be in the primary of node:cluster');
  return new Relay(cluster, maxUnsentBytes);
}

/** One worker that has said hello. */
interface Peer {
  readonly worker: RelayedWorker;
  readonly carriesBytes: boolean;
  /** Keys of the channels that it has subscribed to. */
  readonly keys: Map<string, Set<string>>;
  unsentBytes: number;
}

/** @internal */
export class Relay implements WorkerRelay {
  dropped = 0;
  readonly #cluster: Workers;
  readonly #maxUnsentBytes: number;
  readonly #peers = new Map<number, Peer>();
  /** Those who have subscribed, by prefix and channel. */
  readonly #subscribers = new Map<string, Set<Peer>>();

  constructor(workers: Workers, maxUnsentBytes: number) {
    this.#cluster = workers;
    this.#maxUnsentBytes = maxUnsentBytes;
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
    this.#subscribers.clear();
  }

  #announce(kind: 'started' | 'stopped'): void {
    for (const worker of Object.values(this.#cluster.workers ?? {})) {
      if (worker?.isConnected() === true) send(worker, { [KIND]: kind });
    }
  }

  readonly #onGone = ({ id }: RelayedWorker): void => {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    for (const prefix of peer.keys.keys()) this.#forget(peer, prefix);
  };

  /** Believes nothing: it ends the primary if it throws, and all workers with it. */
  readonly #onMessage = (worker: RelayedWorker, message: unknown): void => {
    if (!isOurs(message)) return;
    const { [KIND]: kind, prefix, channel, channels, data, request, session, probe } = message as Untrusted;
    if (typeof prefix !== 'string') return;
    if (kind === 'hello') {
      this.#onHello(worker, prefix, probe);
      send(worker, { [KIND]: 'welcome', prefix, session: numberOf(session), probe: PROBE });
      return;
    }
    const peer = this.#peers.get(worker.id);
    if (peer === undefined) return;
    if (kind === 'bye') this.#forget(peer, prefix);
    else if (kind === 'message') this.#onPublished(prefix, channel, data);
    else if ((kind === 'subscribe' || kind === 'unsubscribe') && Array.isArray(channels)) {
      for (const each of channels) this.#change(peer, prefix, stringOf(each), kind === 'subscribe');
      send(worker, { [KIND]: 'done', prefix, request: numberOf(request) });
    }
  };

  #onHello(worker: RelayedWorker, prefix: string, probe: unknown): void {
    const known = this.#peers.get(worker.id);
    if (known !== undefined) this.#forget(known, prefix);
    else
      this.#peers.set(worker.id, {
        worker,
        carriesBytes: carriesBytes(probe),
        keys: new Map(),
        unsentBytes: 0,
      });
  }

  #change(peer: Peer, prefix: string, channel: string, isSubscribed: boolean): void {
    const key = keyOf(prefix, channel);
    if (!isSubscribed) {
      peer.keys.get(prefix)?.delete(key);
      this.#leave(peer, key);
      return;
    }
    const keys = peer.keys.get(prefix) ?? new Set();
    peer.keys.set(prefix, keys.add(key));
    const subscribers = this.#subscribers.get(key) ?? new Set();
    this.#subscribers.set(key, subscribers.add(peer));
  }

  #forget(peer: Peer, prefix: string): void {
    for (const key of peer.keys.get(prefix) ?? []) this.#leave(peer, key);
    peer.keys.delete(prefix);
  }

  #leave(peer: Peer, key: string): void {
    const subscribers = this.#subscribers.get(key);
    subscribers?.delete(peer);
    if (subscribers?.size === 0) this.#subscribers.delete(key);
  }

  #onPublished(prefix: string, channel: unknown, data: unknown): void {
    if (typeof channel !== 'string' || !isPacked(data)) return;
    for (const peer of this.#subscribers.get(keyOf(prefix, channel)) ?? []) {
      const bytes = data.length + channel.length + MESSAGE_OVERHEAD_BYTES;
      if (peer.unsentBytes + bytes > this.#maxUnsentBytes) {
        this.dropped++;
        continue;
      }
      peer.unsentBytes += bytes;
      const message = { [KIND]: 'message', prefix, channel, data: pack(data, peer.carriesBytes) } as const;
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

/** Its length tells the prefix from the channel, whatever characters they hold. */
const keyOf = (prefix: string, channel: string): string => `${prefix.length}:${prefix}${channel}`;

/** With a callback, a worker that is gone is no `error` event, which would end the primary. */
function send(worker: RelayedWorker, message: FromPrimary, sent: () => void = () => undefined): void {
  worker.send(message, undefined, undefined, sent);
}
