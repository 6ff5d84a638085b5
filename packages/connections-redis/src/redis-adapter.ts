import type { ClusterAdapter, ClusterLink, ClusterTraits } from '@soketi/connections';
import type { Client } from './client.js';
import { fromIoredis, isIoredis, type IoredisClient } from './ioredis.js';
import { fromNodeRedis, isNodeRedis, type NodeRedisClient } from './node-redis.js';
import { Pending } from './pending.js';
import { Receiving } from './receiving.js';

/** Options of {@link redisAdapter}. */
export interface RedisAdapterOptions {
  /**
   * Publishes. Of `redis` (node-redis) 4.6, 5 or 6, of `ioredis` 5 or 6, or of `iovalkey`. It stays yours: the adapter
   * sends `PUBLISH` on it, listens to it, and never connects or closes it.
   */
  readonly client: NodeRedisClient | IoredisClient;
  /**
   * The connection that receives is a duplicate of this client, for instance one with other credentials.
   * It must connect to the same server as `client`. With a replica Redis counts no receivers: sends to other nodes resolve
   * `false` although they arrive, and the adapter subscribes again and again.
   *
   * @default `client`
   */
  readonly subscriber?: NodeRedisClient | IoredisClient;
  /**
   * Begins the name of every channel, followed by a colon. Pools with the same prefix on the same Redis are one
   * cluster, whichever databases they select: use another prefix for each application and each stage.
   *
   * @default 'soketi'
   */
  readonly prefix?: string;
}

const OPTIONS: readonly string[] = ['client', 'subscriber', 'prefix'];

const TRAITS: ClusterTraits = {
  echo: true,
  totalOrder: true,
  countsReceivers: true,
  // Redis disconnects a subscriber for which more than 8 MiB wait for a minute (client-output-buffer-limit).
  maxMessageBytes: 8 * 1024 * 1024,
};

/** Whatever the state of a client may change with, in one library or the other. */
const STATE_EVENTS = ['ready', 'error', 'reconnecting', 'close', 'end'];

/**
 * Makes the pools of many nodes one cluster, over Redis or Valkey.
 *
 * @throws {TypeError} no client of a known library, no prefix, or an unknown option
 */
export function redisAdapter(options: RedisAdapterOptions): ClusterAdapter {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw new TypeError(`Expected ${OPTIONS.join(', ')}, got the option ${unknown}`);
  return new RedisAdapter(options);
}

class RedisAdapter implements ClusterAdapter {
  readonly traits = TRAITS;
  readonly #client: Client;
  readonly #prefix: string;
  readonly #prefixBytes: number;
  readonly #receiving: Receiving;
  readonly #publishing = new Pending();
  #link: ClusterLink | undefined;
  #isUp = false;
  #isClosed = false;

  constructor({ client, subscriber = client, prefix = 'soketi' }: RedisAdapterOptions) {
    if (typeof prefix !== 'string' || prefix === '')
      throw new TypeError('Expected a prefix that is not empty');
    this.#client = fromAny(client);
    this.#prefix = `${prefix}:`;
    this.#prefixBytes = Buffer.byteLength(this.#prefix);
    this.#receiving = new Receiving(fromAny(subscriber), this.#receive, this.#check);
  }

  start(link: ClusterLink): void {
    if (this.#link !== undefined)
      throw new Error('This adapter serves a pool already: make one adapter for each');
    this.#link = link;
    for (const event of STATE_EVENTS) this.#client.on(event, this.#check);
    this.#receiving.connect();
  }

  subscribe(channels: readonly string[]): Promise<void> {
    return this.#receiving.subscribe(channels.map((channel) => this.#prefix + channel));
  }

  unsubscribe(channels: readonly string[]): Promise<void> {
    return this.#receiving.unsubscribe(channels.map((channel) => this.#prefix + channel));
  }

  async publish(channel: string, message: Buffer): Promise<number> {
    // A client that is not ready would keep the message for as long as it takes.
    if (this.#isClosed || !this.#client.isReady()) throw new Error('Redis is not connected');
    // It is a number already, unless the client is told to make something else of numbers.
    return Number(await this.#publishing.settle(this.#client.publish(this.#prefix + channel, message)));
  }

  resubscribe(): void {
    if (this.#link !== undefined && !this.#isClosed) this.#receiving.reconnect();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const event of STATE_EVENTS) this.#client.off(event, this.#check);
    this.#receiving.close();
    this.#publishing.fail(new Error('The adapter is closed'));
    return Promise.resolve();
  }

  /** Called with whatever may have changed one of the two connections: both are needed. */
  readonly #check = (error?: unknown): void => {
    if (this.#isClosed) return;
    const isReady = this.#client.isReady();
    const reason = error instanceof Error ? error : new Error('Redis is not connected');
    if (!isReady) this.#publishing.fail(reason);
    const isUp = isReady && this.#receiving.isReady;
    if (isUp && !this.#isUp) this.#link?.up();
    if (!isUp && (this.#isUp || error instanceof Error)) this.#link?.down(reason);
    this.#isUp = isUp;
  };

  readonly #receive = (name: Buffer, message: Buffer): void => {
    if (this.#isClosed) return;
    try {
      this.#link?.receive(name.toString('utf8', this.#prefixBytes), message);
    } catch (error) {
      // In the client, it would end the connection or the process.
      this.#link?.warn(error as Error);
    }
  };
}

function fromAny(client: object): Client {
  if (typeof client === 'object' && (client as object | null) !== null) {
    if (isNodeRedis(client)) return fromNodeRedis(client);
    if (isIoredis(client)) return fromIoredis(client);
  }
  throw new TypeError(
    'Expected a client of redis, ioredis or iovalkey, other than one of a Redis Cluster or a Sentinel pool',
  );
}
