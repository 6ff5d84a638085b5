import type { ClusterAdapter, ClusterLink, ClusterTraits } from '@soketi/connections';
import {
  givesUp,
  isWithoutEcho,
  watch,
  type NatsClient,
  type NatsStatus,
  type NatsSubscription,
} from './client.js';
import { Pending } from './pending.js';
import { assertPrefix, subjectOf } from './subject.js';

/** Options of {@link natsAdapter}. */
export interface NatsAdapterOptions {
  /**
   * A connection of `@nats-io/transport-node` 3 or `nats` 2. It stays yours: the adapter publishes and subscribes on
   * it, and never closes it. Make it with `maxReconnectAttempts: -1`, or it ends in an outage of some twenty seconds.
   */
  readonly connection: NatsClient;
  /**
   * Begins every subject, followed by a dot. Pools with the same prefix are one cluster: use another one for each
   * application and each stage.
   *
   * @default 'soketi'
   */
  readonly prefix?: string;
}

/** The server's own default, for as long as it has not told its own. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024;

interface Subscribed {
  readonly subscription: NatsSubscription;
  isConfirmed: boolean;
  /** Why the server has ended it. */
  error?: Error;
}

/**
 * Makes the pools of many nodes one cluster, over NATS.
 *
 * @throws {TypeError} no connection, or a prefix that cannot begin a subject
 */
export function natsAdapter(options: NatsAdapterOptions): ClusterAdapter {
  return new NatsAdapter(options);
}

class NatsAdapter implements ClusterAdapter {
  readonly #connection: NatsClient;
  readonly #prefix: string;
  readonly #pending = new Pending();
  readonly #subscribed = new Map<string, Subscribed>();
  #maxMessageBytes = DEFAULT_MAX_PAYLOAD;
  #link: ClusterLink | undefined;
  #unwatch: (() => void) | undefined;
  #isConnected = false;
  #isClosed = false;
  #hasWarned = false;
  /** The round trip that is under way, and the one after it. */
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor({ connection, prefix = 'soketi' }: NatsAdapterOptions) {
    if (typeof (connection as Partial<NatsClient> | undefined)?.flush !== 'function')
      throw new TypeError('Expected a connection of @nats-io/transport-node or nats');
    assertPrefix(prefix);
    this.#connection = connection;
    this.#prefix = prefix;
  }

  get traits(): ClusterTraits {
    // There is no `info` while the connection is being made again.
    this.#maxMessageBytes = this.#connection.info?.max_payload ?? this.#maxMessageBytes;
    const echo = !isWithoutEcho(this.#connection);
    return { echo, totalOrder: false, countsReceivers: false, maxMessageBytes: this.#maxMessageBytes };
  }

  start(link: ClusterLink): void {
    if (this.#link !== undefined)
      throw new Error('This adapter serves a pool already: make one adapter for each');
    this.#link = link;
    if (givesUp(this.#connection))
      link.warn(
        new Error('NATS: the connection ends in a longer outage, unless it has maxReconnectAttempts: -1'),
      );
    if (isWithoutEcho(this.#connection))
      link.warn(new Error('NATS: with noEcho a subscription that is lost is noticed late'));
    this.#unwatch = watch(this.#connection, (status) => this.#onStatus(status));
    void this.#connection.closed().then(
      (reason) =>
        this.#onDown(reason instanceof Error ? reason : new Error('NATS: the connection is closed')),
      (reason: unknown) => this.#onDown(reason as Error),
    );
    void this.#connect();
  }

  async subscribe(channels: readonly string[]): Promise<void> {
    this.#assertConnected();
    const all = channels.map((channel) => this.#subscribe(channel));
    await this.#confirm();
    for (const one of all) {
      // The server refuses before it answers.
      if (one.error !== undefined) throw one.error;
      one.isConfirmed = true;
    }
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    // Also while disconnected: the connection would subscribe to them again.
    for (const channel of channels) this.#unsubscribe(channel);
    this.#assertConnected();
    await this.#confirm();
  }

  async publish(channel: string, message: Buffer): Promise<undefined> {
    // While it is disconnected, the connection keeps messages, only to drop them.
    this.#assertConnected();
    this.#connection.publish(subjectOf(this.#prefix, channel), message);
    await this.#confirm();
  }

  async ping(): Promise<void> {
    this.#assertConnected();
    await this.#confirm();
  }

  resubscribe(): void {
    if (this.#link === undefined || this.#isClosed) return;
    // The connection itself belongs to the user. Were it dead, the round trips would tell.
    for (const channel of this.#subscribed.keys()) this.#unsubscribe(channel);
    this.#onDown(new Error('NATS: subscribing again'));
    void this.#connect();
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#unwatch?.();
      for (const channel of this.#subscribed.keys()) this.#unsubscribe(channel);
      this.#pending.fail(new Error('The adapter is closed'));
    }
    return Promise.resolve();
  }

  #assertConnected(): void {
    if (!this.#isConnected || this.#isClosed) throw new Error('NATS is not connected');
  }

  #onStatus(status: NatsStatus): void {
    if (status.type === 'disconnect') this.#onDown(new Error('NATS: the connection is lost'));
    else if (status.type === 'reconnect') void this.#connect();
    else if (status.type === 'error')
      this.#warnOnce(status.error ?? new Error(`NATS: ${String(status.data)}`));
  }

  /** Announces the connection once the server has answered. It subscribes again by itself, before that. */
  async #connect(): Promise<void> {
    try {
      await this.#confirm();
    } catch {
      // Disconnected again, and so down already; or it never was connected. `reconnect` comes.
      return;
    }
    if (this.#isClosed || this.#isConnected || this.#connection.isClosed()) return;
    this.#isConnected = true;
    this.#hasWarned = false;
    this.#link?.up();
  }

  #onDown(error: Error): void {
    if (this.#isClosed) return;
    this.#isConnected = false;
    this.#pending.fail(error);
    this.#link?.down(error);
  }

  /** A server that denies one thing denies it each time. */
  #warnOnce(error: Error): void {
    if (this.#hasWarned || this.#isClosed) return;
    this.#hasWarned = true;
    this.#link?.warn(error);
  }

  #subscribe(channel: string): Subscribed {
    const present = this.#subscribed.get(channel);
    if (present !== undefined) return present;
    const callback = (error: Error | null, message: { readonly data: Uint8Array }): void => {
      if (error) this.#onRefused(channel, subscribed, error);
      else this.#receive(channel, message.data);
    };
    const subscription = this.#connection.subscribe(subjectOf(this.#prefix, channel), { callback });
    const subscribed: Subscribed = { subscription, isConfirmed: false };
    this.#subscribed.set(channel, subscribed);
    return subscribed;
  }

  #unsubscribe(channel: string): void {
    this.#subscribed.get(channel)?.subscription.unsubscribe();
    this.#subscribed.delete(channel);
  }

  /** The server has ended a subscription; the cluster layer makes all of them again. */
  #onRefused(channel: string, subscribed: Subscribed, error: Error): void {
    subscribed.error = error;
    if (this.#subscribed.get(channel) !== subscribed) return;
    this.#subscribed.delete(channel);
    if (!subscribed.isConfirmed) return;
    this.#onDown(error);
    void this.#connect();
  }

  #receive(channel: string, { buffer, byteOffset, byteLength }: Uint8Array): void {
    try {
      this.#link?.receive(channel, Buffer.from(buffer, byteOffset, byteLength));
    } catch (error) {
      // In the client it would end the loop that reads, for good.
      this.#link?.warn(error as Error);
    }
  }

  /** Resolves when the server has answered to everything sent until now. Calls share their round trips. */
  #confirm(): Promise<void> {
    this.#next ??= this.#roundTrip();
    return this.#pending.settle(this.#next);
  }

  async #roundTrip(): Promise<void> {
    await this.#current?.catch(() => undefined);
    this.#next = undefined;
    this.#current = this.#connection.flush();
    await this.#current;
  }
}
