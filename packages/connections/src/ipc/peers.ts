import type { FromPrimary } from './protocol.js';

/** A worker of `node:cluster`, as far as it is used here. */
export interface RelayedWorker {
  readonly id: number;
  isConnected(): boolean;
  send(message: FromPrimary, handle: undefined, options: undefined, sent: () => void): unknown;
}

/** One worker that has said hello. */
export interface Peer {
  readonly worker: RelayedWorker;
  readonly carriesBytes: boolean;
  /** Keys of the channels that it has subscribed to, by prefix. */
  readonly keys: Map<string, Set<string>>;
  unsentBytes: number;
}

/** The workers that have said hello, and what they have subscribed to. */
export class Peers {
  readonly #peers = new Map<number, Peer>();
  /** By prefix and channel. */
  readonly #subscribers = new Map<string, Set<Peer>>();

  get(id: number): Peer | undefined {
    return this.#peers.get(id);
  }

  /** A worker says hello. If that is the first one of an adapter, the subscriptions of this prefix start over. */
  greet(worker: RelayedWorker, prefix: string, isFirst: boolean, carriesBytes: boolean): void {
    const known = this.#peers.get(worker.id);
    if (known === undefined)
      this.#peers.set(worker.id, { worker, carriesBytes, keys: new Map(), unsentBytes: 0 });
    else if (isFirst) this.forget(known, prefix);
  }

  delete(id: number): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    for (const prefix of peer.keys.keys()) this.forget(peer, prefix);
  }

  clear(): void {
    this.#peers.clear();
    this.#subscribers.clear();
  }

  subscribe(peer: Peer, prefix: string, channel: string): void {
    const key = keyOf(prefix, channel);
    const keys = peer.keys.get(prefix) ?? new Set();
    peer.keys.set(prefix, keys.add(key));
    const subscribers = this.#subscribers.get(key) ?? new Set();
    this.#subscribers.set(key, subscribers.add(peer));
  }

  unsubscribe(peer: Peer, prefix: string, channel: string): void {
    const key = keyOf(prefix, channel);
    peer.keys.get(prefix)?.delete(key);
    this.#leave(peer, key);
  }

  subscribersOf(prefix: string, channel: string): Iterable<Peer> {
    return this.#subscribers.get(keyOf(prefix, channel)) ?? [];
  }

  /** Ends the subscriptions of one prefix. */
  forget(peer: Peer, prefix: string): void {
    for (const key of peer.keys.get(prefix) ?? []) this.#leave(peer, key);
    peer.keys.delete(prefix);
  }

  #leave(peer: Peer, key: string): void {
    const subscribers = this.#subscribers.get(key);
    subscribers?.delete(peer);
    if (subscribers?.size === 0) this.#subscribers.delete(key);
  }
}

/** Its length tells the prefix from the channel, whatever characters they hold. */
const keyOf = (prefix: string, channel: string): string => `${prefix.length}:${prefix}${channel}`;
