import cluster from 'node:cluster';
import type { ClusterAdapter, ClusterLink, ClusterTraits } from '../cluster/adapter.js';
import { assertKeys } from '../arguments.js';
import { Primary, type PrimaryChannel } from './primary.js';
import {
  carriesBytes,
  FIRST_SESSION,
  isPacked,
  KIND,
  pack,
  PROBE,
  unpack,
  type FromPrimary,
} from './protocol.js';

/** Options of {@link ipcAdapter}. */
export interface IpcAdapterOptions {
  /**
   * Pools with the same prefix are one cluster. A worker with two pools needs two prefixes: the second pool with the same
   * one throws.
   *
   * @default 'soketi'
   */
  readonly prefix?: string;
}

const TRAITS: ClusterTraits = {
  echo: true,
  // All messages pass through the one primary.
  totalOrder: true,
  countsReceivers: false,
  // A primary that copies longer ones keeps all workers waiting.
  maxMessageBytes: 8 * 1024 * 1024,
};

/** After this long without an answer, in ms, the primary is said not to answer. */
const WELCOME_TIMEOUT_MS = 1_000;

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
 *   // Otherwise the primary ends at once, and its workers with it.
 *   process.once('SIGTERM', (signal) => {
 *     for (const worker of Object.values(cluster.workers)) worker.process.kill(signal);
 *   });
 * } else {
 *   const pool = new ConnectionsPool({ adapter: ipcAdapter() });
 *   gracefulShutdown({ server, webSocketServer, pool, signals: ['SIGTERM'] });
 * }
 * ```
 *
 * @throws {TypeError} an option is unknown, or the prefix is no string
 * @throws {Error} this process is not a worker of `node:cluster`
 */
export function ipcAdapter(options: IpcAdapterOptions = {}): ClusterAdapter {
  assertKeys('the options of ipcAdapter', options, ['prefix']);
  const { prefix = 'soketi' } = options;
  if (typeof prefix !== 'string') throw new TypeError('Expected a prefix that is a string');
  if (!cluster.isWorker) throw new Error('Expected to be in a worker of node:cluster');
  return new IpcAdapter(process as PrimaryChannel, prefix);
}

/** The prefixes of the adapters that have started: to the primary, two with the same one are one. */
const prefixesInUse = new WeakMap<PrimaryChannel, Set<string>>();

/** @internal */
export class IpcAdapter implements ClusterAdapter {
  readonly traits = TRAITS;
  readonly #primary: Primary;
  readonly #prefix: string;
  readonly #prefixesInUse: Set<string>;
  #link: ClusterLink | undefined;
  /** Counts the greetings: only the answer to the last one is heard. */
  #session = FIRST_SESSION - 1;
  #isUp = false;
  #closed: Promise<void> | undefined;
  #carriesBytes = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(channel: PrimaryChannel, prefix: string) {
    this.#primary = new Primary(channel);
    this.#prefix = prefix;
    this.#prefixesInUse = prefixesInUse.get(channel) ?? new Set();
    prefixesInUse.set(channel, this.#prefixesInUse);
  }

  start(link: ClusterLink): void {
    if (this.#link !== undefined)
      throw new Error('This adapter serves a pool already: make one adapter for each');
    if (this.#prefixesInUse.has(this.#prefix))
      throw new Error(`A pool of this worker has the prefix '${this.#prefix}': give this one another`);
    this.#prefixesInUse.add(this.#prefix);
    this.#link = link;
    this.#primary.listen(
      (message) => this.#onMessage(message),
      () => this.#onGone(new Error('The primary has disconnected')),
    );
    this.#greet();
  }

  async subscribe(channels: readonly string[]): Promise<void> {
    this.#assertUp();
    await this.#primary.change('subscribe', this.#prefix, channels);
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    this.#assertUp();
    await this.#primary.change('unsubscribe', this.#prefix, channels);
  }

  async publish(channel: string, message: Buffer): Promise<undefined> {
    this.#assertUp();
    const data = pack(message, this.#carriesBytes);
    await this.#primary.write({ [KIND]: 'message', prefix: this.#prefix, channel, data });
  }

  resubscribe(): void {
    if (this.#link === undefined || this.#closed !== undefined) return;
    this.#onDown(new Error('Subscribing again'));
    this.#greet();
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const wasUp = this.#isUp;
    this.#isUp = false;
    if (this.#link !== undefined) this.#prefixesInUse.delete(this.#prefix);
    clearTimeout(this.#timer);
    this.#primary.fail(new Error('The adapter is closed'));
    // A worker that disconnects while one of our messages arrives would not end, see Primary.
    if (wasUp) await this.#primary.leave(this.#prefix).catch(() => undefined);
    else if (this.#link !== undefined)
      this.#primary.tell({ [KIND]: 'bye', prefix: this.#prefix, request: 0 });
    this.#primary.ignore();
  }

  #assertUp(): void {
    this.#primary.assertConnected();
    if (!this.#isUp) throw new Error('The primary is not connected');
  }

  #greet(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#onDown(new Error('The primary does not answer: it has to call relayWorkers()'));
    }, WELCOME_TIMEOUT_MS).unref();
    this.#primary.tell({ [KIND]: 'hello', prefix: this.#prefix, session: ++this.#session, probe: PROBE });
  }

  #onGone(error: Error): void {
    this.#primary.fail(error);
    this.#onDown(error);
  }

  #onDown(error: Error): void {
    this.#isUp = false;
    this.#primary.failQuestions(error);
    if (this.#closed === undefined) this.#link?.down(error);
  }

  #onMessage(message: FromPrimary): void {
    if (this.#closed !== undefined) return;
    switch (message[KIND]) {
      case 'started':
        this.#greet();
        break;
      case 'stopped':
        this.#onGone(new Error('The primary has stopped relaying'));
        break;
      case 'welcome':
        if (message.prefix === this.#prefix && message.session === this.#session)
          this.#onWelcome(message.probe);
        break;
      case 'message':
        if (message.prefix === this.#prefix) this.#receive(message.channel, message.data);
    }
  }

  #onWelcome(probe: unknown): void {
    clearTimeout(this.#timer);
    this.#carriesBytes = carriesBytes(probe);
    this.#isUp = true;
    this.#link?.up();
  }

  #receive(channel: string, data: unknown): void {
    if (!isPacked(data)) return;
    try {
      this.#link?.receive(channel, unpack(data));
    } catch (error) {
      // On this channel it would be an uncaught exception.
      this.#link?.warn(error as Error);
    }
  }
}
