import type { ClusterAdapter, ClusterLink, ClusterTraits } from '@soketi/connections';
import { Availability } from './availability.js';
import { givesUp, isWithoutEcho, type NatsClient } from './client.js';
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
 * NATS keeps no order between the messages of two nodes, so `onDuplicate: 'replace'` compares when connections with the
 * same id joined, by the clocks of their hosts: the newest stays, in the same millisecond the one on the node with the
 * higher id. A host whose clock is behind loses to connections that joined before its own by less than that.
 *
 * @throws {TypeError} no connection, a prefix that cannot begin a subject, or an unknown option
 */
export function natsAdapter(options: NatsAdapterOptions): ClusterAdapter {
  const unknown = Object.keys(options).find((name) => name !== 'connection' && name !== 'prefix');
  if (unknown !== undefined) throw new TypeError(`Expected connection and prefix, got the option ${unknown}`);
  return new NatsAdapter(options);
}

class NatsAdapter implements ClusterAdapter {
  readonly #connection: NatsClient;
  readonly #prefix: string;
  readonly #roundTrips: RoundTrips;
  readonly #subscriptions: Subscriptions;
  readonly #availability: Availability;
  #maxMessageBytes = DEFAULT_MAX_PAYLOAD;
  #link: ClusterLink | undefined;
  #isClosed = false;

  constructor({ connection, prefix = 'soketi' }: NatsAdapterOptions) {
    if (typeof (connection as Partial<NatsClient> | undefined)?.flush !== 'function')
      throw new TypeError('Expected a connection of @nats-io/transport-node or nats');
    assertPrefix(prefix);
    this.#connection = connection;
    this.#prefix = prefix;
    this.#roundTrips = new RoundTrips(connection);
    this.#subscriptions = new Subscriptions(connection, prefix, {
      receive: (channel, data) => this.#receive(channel, data),
      // The cluster layer subscribes to everything again with each `up`.
      ended: (error) => this.#availability.restart(error),
    });
    this.#availability = new Availability(connection, this.#roundTrips, {
      up: () => this.#link?.up(),
      down: (error) => this.#link?.down(error),
      warn: (error) => this.#link?.warn(error),
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
    this.#availability.start();
  }

  async subscribe(channels: readonly string[]): Promise<void> {
    this.#assertUp();
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
    this.#assertUp();
    await this.#roundTrips.confirm();
  }

  async publish(channel: string, message: Buffer): Promise<undefined> {
    // While it is disconnected, the connection keeps messages, only to drop them.
    this.#assertUp();
    this.#connection.publish(subjectOf(this.#prefix, channel), message);
    await this.#roundTrips.confirm();
  }

  async ping(): Promise<void> {
    this.#assertUp();
    await this.#roundTrips.confirm();
  }

  resubscribe(): void {
    if (this.#link === undefined || this.#isClosed) return;
    // The connection itself belongs to the user. Were it dead, the round trips would tell.
    this.#subscriptions.clear();
    this.#availability.restart(new Error('NATS: subscribing again'));
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#subscriptions.clear();
      this.#availability.stop();
    }
    return Promise.resolve();
  }

  #assertUp(): void {
    if (!this.#availability.isUp) throw new Error('NATS is not connected');
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
