import { toError } from '../errors.js';
import { wheel } from '../liveness/timing-wheel.js';
import { inOwnContext } from '../own-context.js';
import type { ClusterAdapter } from './adapter.js';
import { Alarm } from './alarm.js';
import { MAX_CHANNELS, Subscription } from './subscription.js';

/** How long a namespace stays subscribed to after its last member has left, in ms. */
const LINGER_MS = 1_000;

/** What the link wants to know. */
export interface SubscriptionsOwner {
  /** Something was confirmed or refused. */
  changed(error: Error | undefined): void;
  /** Nobody wants the channel any more. */
  removed(channel: string): void;
}

/**
 * The channels that this node wants to hear, and those that the broker has confirmed. Whatever fails is tried again
 * until the two are the same.
 */
export class Subscriptions {
  readonly #adapter: ClusterAdapter;
  readonly #owner: SubscriptionsOwner;
  readonly #heartbeatMs: number;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Channels that have to be confirmed before the link is up again. */
  readonly #recovering = new Set<string>();
  readonly #failing = new Set<string>();
  readonly #unwanted = new Set<string>();
  readonly #wanted = new Set<string>();
  /** Nobody wants them, but the broker may not know. */
  readonly #leftovers = new Set<string>();
  readonly #retry = new Alarm(() => this.#onRetry());
  readonly #linger = new Alarm(() => this.#release());
  /** When the first of those that have failed is tried again. */
  #retryAtMs = Infinity;
  #isOpen = false;
  #isScheduled = false;

  constructor(adapter: ClusterAdapter, heartbeatMs: number, owner: SubscriptionsOwner) {
    this.#adapter = adapter;
    this.#heartbeatMs = heartbeatMs;
    this.#owner = owner;
  }

  /** All channels that were wanted when the link came up are confirmed, and none has failed since. */
  get isComplete(): boolean {
    return this.#recovering.size === 0 && this.#failing.size === 0;
  }

  get hasFailed(): boolean {
    return this.#failing.size > 0;
  }

  isConfirmed(channel: string): boolean {
    return this.confirmationOf(channel) !== undefined;
  }

  /** Which attempt to subscribe the broker has confirmed; `undefined` if it has not. */
  confirmationOf(channel: string): number | undefined {
    const subscription = this.#subscriptions.get(channel);
    return subscription?.state === 'confirmed' ? subscription.attempt : undefined;
  }

  want(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription !== undefined) {
      subscription.unwantedAtMs = undefined;
      this.#unwanted.delete(channel);
      return;
    }
    this.#leftovers.delete(channel);
    this.#subscriptions.set(channel, new Subscription());
    this.#ask(channel);
  }

  /** Unsubscribes a while later, unless it is wanted again by then. */
  unwant(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined || subscription.unwantedAtMs !== undefined) return;
    subscription.unwantedAtMs = performance.now();
    this.#unwanted.add(channel);
    if (!this.#linger.isSet) this.#linger.set(LINGER_MS);
  }

  /** Calls back once, when the channel is confirmed or refused, or not wanted any more; at once if it is confirmed. */
  whenSettled(channel: string, callback: () => void): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined || subscription.state === 'confirmed') callback();
    else subscription.wait(callback);
  }

  /** Resolves when the channel is settled, or that time is over. */
  settled(channel: string, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const limit = new Alarm(() => resolve());
      limit.set(withinMs);
      this.whenSettled(channel, () => {
        limit.clear();
        resolve();
      });
    });
  }

  /** The broker can be reached, perhaps for the first time in a while: nothing counts as confirmed. */
  open(): void {
    this.#isOpen = true;
    this.#retryAtMs = Infinity;
    this.#failing.clear();
    this.#recovering.clear();
    this.#unsubscribeAll([...this.#leftovers]);
    for (const [channel, subscription] of this.#subscriptions) {
      subscription.reset();
      subscription.failures = 0;
      subscription.limit = MAX_CHANNELS;
      this.#recovering.add(channel);
      this.#ask(channel);
    }
  }

  /** The broker is away. */
  close(): void {
    this.#isOpen = false;
    this.#retry.clear();
    this.#retryAtMs = Infinity;
    this.#wanted.clear();
    this.#failing.clear();
    for (const subscription of this.#subscriptions.values()) {
      subscription.reset();
      // Nobody waits for a broker that is away.
      subscription.settle();
    }
  }

  /** Everything is given up. */
  end(): void {
    this.close();
    this.#linger.clear();
    for (const channel of [...this.#subscriptions.keys()]) this.#remove(channel);
  }

  /** Subscribes to one channel again: it is confirmed, but nothing comes. */
  renew(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (!this.#isOpen || subscription?.state !== 'confirmed') return;
    subscription.reset();
    this.#recovering.add(channel);
    // Whatever that answers: the next command tells whether the channel is there.
    void attempt(() => this.#adapter.unsubscribe([channel])).catch(() => undefined);
    this.#ask(channel);
  }

  // ---------------------------------------------------------------- echo

  /** A batch was published on the channel: its echo must come. */
  awaitEcho(channel: string, sequence: number): void {
    this.#subscriptions.get(channel)?.awaitEcho(sequence);
  }

  /** A batch of this node has come back. */
  onEcho(channel: string, sequence: number): void {
    this.#subscriptions.get(channel)?.onEcho(sequence);
  }

  /** Renews channels whose echo has not come for that long. */
  renewSilent(silentMs: number): void {
    const sinceMs = wheel.nowMs - silentMs;
    for (const [channel, subscription] of this.#subscriptions) {
      if (subscription.isSilentSince(sinceMs)) this.renew(channel);
    }
  }

  // ---------------------------------------------------------------- commands

  #ask(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return;
    subscription.state = 'wanted';
    this.#wanted.add(channel);
    if (this.#isScheduled || !this.#isOpen) return;
    this.#isScheduled = true;
    inOwnContext(() => setImmediate(() => this.#askAll()));
  }

  #askAll(): void {
    this.#isScheduled = false;
    if (!this.#isOpen) return;
    let command: string[] = [];
    let limit = MAX_CHANNELS;
    for (const channel of this.#wanted) {
      const subscription = this.#subscriptions.get(channel);
      if (subscription?.state !== 'wanted') continue;
      limit = Math.min(limit, subscription.limit);
      if (command.length >= limit) {
        this.#subscribe(command);
        [command, limit] = [[], subscription.limit];
      }
      command.push(channel);
    }
    this.#wanted.clear();
    if (command.length > 0) this.#subscribe(command);
  }

  #subscribe(channels: readonly string[]): void {
    const attempts = channels.map((channel) => {
      const subscription = this.#subscriptions.get(channel) as Subscription;
      subscription.state = 'asked';
      return [channel, subscription, ++subscription.attempt] as const;
    });
    const current = (): (readonly [string, Subscription])[] =>
      attempts
        .filter(([channel, { attempt }, own]) => attempt === own && this.#subscriptions.has(channel))
        .map(([channel, subscription]) => [channel, subscription]);
    attempt(() => this.#adapter.subscribe(channels)).then(
      () => this.#onConfirmed(current()),
      (error: unknown) => this.#onRefused(current(), channels.length, toError(error)),
    );
  }

  #onConfirmed(subscriptions: readonly (readonly [string, Subscription])[]): void {
    for (const [channel, subscription] of subscriptions) {
      subscription.confirm();
      this.#recovering.delete(channel);
      this.#failing.delete(channel);
    }
    if (subscriptions.length > 0) this.#owner.changed(undefined);
    for (const [, subscription] of subscriptions) subscription.settle();
  }

  #onRefused(
    subscriptions: readonly (readonly [string, Subscription])[],
    together: number,
    error: Error,
  ): void {
    if (subscriptions.length === 0) return;
    const nowMs = performance.now();
    for (const [channel, subscription] of subscriptions) {
      subscription.fail(together, this.#heartbeatMs, nowMs);
      this.#failing.add(channel);
      this.#retryAt(subscription.retryAtMs, nowMs);
    }
    this.#owner.changed(error);
    for (const [, subscription] of subscriptions) subscription.settle();
  }

  /** Each of thousands of refused commands only moves the alarm: to look through all channels would hold the event loop. */
  #retryAt(atMs: number, nowMs: number): void {
    if (atMs >= this.#retryAtMs) return;
    this.#retryAtMs = atMs;
    this.#retry.set(Math.max(atMs - nowMs, 0));
  }

  #onRetry(): void {
    const nowMs = performance.now();
    this.#retryAtMs = Infinity;
    for (const channel of this.#failing) {
      const subscription = this.#subscriptions.get(channel);
      if (subscription?.state !== 'failed') continue;
      if (subscription.retryAtMs > nowMs) this.#retryAt(subscription.retryAtMs, nowMs);
      else this.#ask(channel);
    }
  }

  #release(): void {
    const dueMs = performance.now() - LINGER_MS;
    const released: string[] = [];
    for (const channel of this.#unwanted) {
      const unwantedAtMs = this.#subscriptions.get(channel)?.unwantedAtMs ?? 0;
      if (unwantedAtMs > dueMs) continue;
      if (this.#subscriptions.get(channel)?.state !== 'wanted') released.push(channel);
      this.#remove(channel);
    }
    if (this.#unwanted.size > 0) this.#linger.set(LINGER_MS / 2);
    if (!this.#isOpen) return;
    this.#unsubscribeAll(released);
    this.#owner.changed(undefined);
  }

  #unsubscribeAll(channels: readonly string[]): void {
    for (let at = 0; at < channels.length; at += MAX_CHANNELS) {
      this.#unsubscribe(channels.slice(at, at + MAX_CHANNELS));
    }
  }

  #unsubscribe(channels: readonly string[]): void {
    for (const channel of channels) this.#leftovers.delete(channel);
    attempt(() => this.#adapter.unsubscribe(channels)).catch(() => {
      // What comes on them finds no members. Tried again when the broker is back.
      for (const channel of channels) this.#leftovers.add(channel);
    });
  }

  #remove(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    this.#subscriptions.delete(channel);
    for (const set of [this.#unwanted, this.#wanted, this.#recovering, this.#failing]) set.delete(channel);
    subscription?.settle();
    this.#owner.removed(channel);
  }
}

/** Calls a method of the adapter. One that breaks the contract and throws must not stop anything else. */
function attempt(command: () => Promise<void>): Promise<void> {
  return new Promise((resolve) => resolve(command()));
}
