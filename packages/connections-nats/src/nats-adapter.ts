import type { ClusterAdapter, ClusterLink, ClusterTraits } from '@soketi/connections';
import { givesUp, isWithoutEcho, watch, type NatsClient, type NatsStatus } from './client.js';
import { RoundTrips } from './round-trips.js';
import { assertPrefix, subjectOf } from './subject.js';
import { Subscriptions } from './subscriptions.js';

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

/**
 * Makes the pools of many nodes one cluster, over NATS.
 *
 * @throws {TypeError} no connection, or a prefix that cannot begin a subject
 */
export function natsAdapter(options: NatsAdapterOptions): ClusterAdapter {
  return new NatsAdapter(options);
}

/** Before the server is asked again whether it is there, in ms. */
const RETRY_MS = 1_000;

class NatsAdapter implements ClusterAdapter {
  readonly #connection: NatsClient;
  readonly #prefix: string;
  readonly #roundTrips: RoundTrips;
  readonly #subscriptions: Subscriptions;
  #maxMessageBytes = DEFAULT_MAX_PAYLOAD;
  #link: ClusterLink | undefined;
  #unwatch: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isConnected = false;
  #isClosed = false;
  #hasWarned = false;

  constructor({ connection, prefix = 'soketi' }: NatsAdapterOptions) {
    if (typeof (connection as Partial<NatsClient> | undefined)?.flush !== 'function')
      throw new TypeError('Expected a connection of @nats-io/transport-node or nats');
    assertPrefix(prefix);
    this.#connection = connection;
    this.#prefix = prefix;
    this.#roundTrips = new RoundTrips(connection);
    this.#subscriptions = new Subscriptions(connection, prefix, {
      receive: (channel, data) => this.#receive(channel, data),
      ended: (error) => this.#restart(error),
    });
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
    const all = channels.map((channel) => this.#subscriptions.add(channel));
    await this.#roundTrips.confirm();
    for (const one of all) {
      // The server refuses before it answers.
      if (one.error !== undefined) throw one.error;
      one.isConfirmed = true;
    }
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    // Also while disconnected: the connection would subscribe to them again.
    for (const channel of channels) this.#subscriptions.delete(channel);
    this.#assertConnected();
    await this.#roundTrips.confirm();
  }

  async publish(channel: string, message: Buffer): Promise<undefined> {
    // While it is disconnected, the connection keeps messages, only to drop them.
    this.#assertConnected();
    this.#connection.publish(subjectOf(this.#prefix, channel), message);
    await this.#roundTrips.confirm();
  }

  async ping(): Promise<void> {
    this.#assertConnected();
    await this.#roundTrips.confirm();
  }

  resubscribe(): void {
    if (this.#link === undefined || this.#isClosed) return;
    // The connection itself belongs to the user. Were it dead, the round trips would tell.
    this.#subscriptions.clear();
    this.#restart(new Error('NATS: subscribing again'));
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      clearTimeout(this.#timer);
      this.#unwatch?.();
      this.#subscriptions.clear();
      this.#roundTrips.fail(new Error('The adapter is closed'));
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
    clearTimeout(this.#timer);
    if (this.#isConnected || this.#connection.isClosed()) return;
    try {
      await this.#roundTrips.confirm();
    } catch {
      // Disconnected, and `reconnect` will come; or connected to a server that takes too long, and nothing will.
      if (!this.#isClosed) this.#timer = setTimeout(() => void this.#connect(), RETRY_MS).unref();
      return;
    }
    this.#onConnected();
  }

  #onConnected(): void {
    if (this.#isClosed || this.#isConnected) return;
    this.#isConnected = true;
    this.#hasWarned = false;
    this.#link?.up();
  }

  #onDown(error: Error): void {
    if (this.#isClosed) return;
    this.#isConnected = false;
    this.#roundTrips.fail(error);
    this.#link?.down(error);
  }

  /** The cluster layer subscribes to everything again with each `up`. */
  #restart(error: Error): void {
    this.#onDown(error);
    void this.#connect();
  }

  /** A server that denies one thing denies it each time. */
  #warnOnce(error: Error): void {
    if (this.#hasWarned || this.#isClosed) return;
    this.#hasWarned = true;
    this.#link?.warn(error);
  }

  #receive(channel: string, { buffer, byteOffset, byteLength }: Uint8Array): void {
    try {
      this.#link?.receive(channel, Buffer.from(buffer, byteOffset, byteLength));
    } catch (error) {
      // In the client it would end the loop that reads, for good.
      this.#link?.warn(error as Error);
    }
  }
}
