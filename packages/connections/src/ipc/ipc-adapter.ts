import cluster from 'node:cluster';
import type { ClusterAdapter, ClusterLink, ClusterTraits } from '../cluster/adapter.js';
import { Pending } from './pending.js';
import {
  carriesBytes,
  isOurs,
  isPacked,
  KIND,
  pack,
  PROBE,
  unpack,
  type Change,
  type FromPrimary,
  type FromWorker,
} from './protocol.js';

/** Options of {@link ipcAdapter}. */
export interface IpcAdapterOptions {
  /**
   * Pools with the same prefix are one cluster. A worker with two pools needs two prefixes.
   *
   * @default 'soketi'
   */
  readonly prefix?: string;
}

/** The side of a worker: `process`, as far as it is used here. */
export interface PrimaryChannel {
  readonly connected: boolean;
  send(
    message: FromWorker,
    handle: undefined,
    options: undefined,
    sent: (error: Error | null) => void,
  ): unknown;
  on(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
  off(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
}

const TRAITS: ClusterTraits = {
  echo: true,
  // All messages pass through the one primary.
  totalOrder: true,
  countsReceivers: false,
  // A primary that copies longer ones keeps all workers waiting.
  maxMessageBytes: 8 * 1024 * 1024,
};

/** After this long without an answer, in ms, the primary is said not to relay. */
const WELCOME_TIMEOUT_MS = 1_000;

/** Requests of all adapters of this process: they hear each other's answers. */
let lastRequest = 0;

/**
 * Makes the pools of the workers of `node:cluster` one cluster, on one machine and without a broker. The primary has to
 * call `relayWorkers()`. Both say everything under the field `soketi:relay` of their messages; those of the program may
 * travel beside them.
 *
 * ```js
 * if (cluster.isPrimary) {
 *   cluster.setupPrimary({ serialization: 'advanced' }); // bytes as they are; without it they travel as strings
 *   relayWorkers();
 *   for (let worker = 0; worker < availableParallelism(); worker++) cluster.fork();
 * } else {
 *   const pool = new ConnectionsPool({ adapter: ipcAdapter() });
 * }
 * ```
 *
 * @throws {Error} this process is not a worker of `node:cluster`
 */
export function ipcAdapter({ prefix = 'soketi' }: IpcAdapterOptions = {}): ClusterAdapter {
  if (typeof prefix !== 'string') throw new TypeError('Expected a prefix that is a string');
  if (!cluster.isWorker) throw new Error('Expected to be in a worker of node:cluster');
  return new IpcAdapter(process as PrimaryChannel, prefix);
}

/** @internal */
export class IpcAdapter implements ClusterAdapter {
  readonly traits = TRAITS;
  readonly #channel: PrimaryChannel;
  readonly #prefix: string;
  readonly #pending = new Pending();
  readonly #answers = new Map<number, () => void>();
  #link: ClusterLink | undefined;
  #session = 0;
  #isUp = false;
  #isClosed = false;
  #carriesBytes = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(channel: PrimaryChannel, prefix: string) {
    this.#channel = channel;
    this.#prefix = prefix;
  }

  start(link: ClusterLink): void {
    if (this.#link !== undefined)
      throw new Error('This adapter serves a pool already: make one adapter for each');
    this.#link = link;
    this.#channel.on('message', this.#onMessage);
    this.#channel.on('disconnect', this.#onDisconnect);
    this.#greet();
  }

  subscribe(channels: readonly string[]): Promise<void> {
    return this.#change('subscribe', channels);
  }

  unsubscribe(channels: readonly string[]): Promise<void> {
    return this.#change('unsubscribe', channels);
  }

  async publish(channel: string, message: Buffer): Promise<undefined> {
    this.#assertUp();
    const data = pack(message, this.#carriesBytes);
    // Written to the pipe: a primary that is too busy to read delays it.
    await this.#pending.settle(this.#send({ [KIND]: 'message', prefix: this.#prefix, channel, data }));
  }

  resubscribe(): void {
    if (this.#link === undefined || this.#isClosed) return;
    this.#onDown(new Error('Subscribing again'));
    this.#greet();
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#channel.off('message', this.#onMessage);
    this.#channel.off('disconnect', this.#onDisconnect);
    this.#pending.fail(new Error('The adapter is closed'));
    if (this.#isUp) void this.#send({ [KIND]: 'bye', prefix: this.#prefix }).catch(() => undefined);
    this.#isUp = false;
    return Promise.resolve();
  }

  #assertUp(): void {
    if (!this.#isUp || !this.#channel.connected) throw new Error('The primary is not connected');
  }

  /** Resolves when the message is written. */
  #send(message: FromWorker): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.send(message, undefined, undefined, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }

  async #change(kind: Change[typeof KIND], channels: readonly string[]): Promise<void> {
    this.#assertUp();
    const request = ++lastRequest;
    try {
      await this.#pending.settle(
        new Promise<void>((resolve, reject) => {
          this.#answers.set(request, resolve);
          this.#send({ [KIND]: kind, prefix: this.#prefix, request, channels }).catch(reject);
        }),
      );
    } finally {
      this.#answers.delete(request);
    }
  }

  #greet(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#onDown(new Error('The primary does not relay: it has to call relayWorkers()'));
    }, WELCOME_TIMEOUT_MS).unref();
    const hello = { [KIND]: 'hello', prefix: this.#prefix, session: ++this.#session, probe: PROBE } as const;
    // Where there is no channel, `disconnect` has told or the time limit will.
    this.#send(hello).catch(() => undefined);
  }

  #onDown(error: Error): void {
    this.#isUp = false;
    this.#pending.fail(error);
    this.#link?.down(error);
  }

  readonly #onDisconnect = (): void => this.#onDown(new Error('The primary has disconnected'));

  readonly #onMessage = (received: unknown): void => {
    if (!isOurs(received)) return;
    const message = received as FromPrimary;
    switch (message[KIND]) {
      case 'started':
        this.#greet();
        break;
      case 'stopped':
        this.#onDown(new Error('The primary has stopped to relay'));
        break;
      case 'welcome':
        if (message.prefix === this.#prefix && message.session === this.#session)
          this.#onWelcome(message.probe);
        break;
      case 'done':
        this.#answers.get(message.request)?.();
        break;
      case 'message':
        if (message.prefix === this.#prefix) this.#receive(message.channel, message.data);
    }
  };

  #onWelcome(probe: unknown): void {
    clearTimeout(this.#timer);
    this.#carriesBytes = carriesBytes(probe);
    this.#isUp = true;
    this.#link?.up();
  }

  #receive(channel: string, data: unknown): void {
    // What the primary sent before it had read the latest hello.
    if (!this.#isUp || !isPacked(data)) return;
    try {
      this.#link?.receive(channel, unpack(data));
    } catch (error) {
      // On this channel it would be an uncaught exception.
      this.#link?.warn(error as Error);
    }
  }
}
