import { toError } from '../errors.js';
import type { ClusterAdapter, ClusterLink, ClusterTraits } from './adapter.js';

/** See `memoryBus`. */
export interface MemoryBusOptions extends Partial<ClusterTraits> {
  /**
   * How many times the receiver gets a message: 0 loses it, 2 doubles it.
   *
   * @default once
   */
  readonly copies?: ((from: ClusterAdapter, to: ClusterAdapter, channel: string) => number) | undefined;
  /** Whether the broker refuses a command of a node on a channel. @default it refuses nothing */
  readonly refuses?: ((command: 'publish' | 'subscribe', channel: string) => boolean) | undefined;
}

/** A broker in the memory of this process. */
export interface MemoryBus {
  /** An adapter for one pool. */
  adapter(): ClusterAdapter;
  /** The broker ends: it forgets all subscriptions, and messages that are under way. */
  stop(): void;
  /** The broker is there again, and every node that is not cut off connects. */
  start(): void;
  /** One node loses its connection to the broker. */
  cut(adapter: ClusterAdapter): void;
  /** It connects again. */
  mend(adapter: ClusterAdapter): void;
  /** One node receives nothing any more and is not told, until it subscribes again on a new connection. */
  deafen(adapter: ClusterAdapter): void;
  /** How many nodes are subscribed to a channel. */
  subscribers(channel: string): number;
  /** The channels that somebody is subscribed to. */
  readonly channels: readonly string[];
}

const DEFAULT_TRAITS: ClusterTraits = {
  echo: true,
  totalOrder: true,
  countsReceivers: true,
  maxMessageBytes: 64 * 1024 * 1024,
};

/**
 * A broker in the memory of this process, for tests of applications that run on several nodes: one pool for each node,
 * each with an `adapter()` of the same bus. Messages arrive in a later turn of the event loop, as they do from a real one.
 */
export function memoryBus(options: MemoryBusOptions = {}): MemoryBus {
  return new Bus(options);
}

class Bus implements MemoryBus {
  readonly options: MemoryBusOptions;
  readonly traits: ClusterTraits;
  readonly #nodes = new Set<BusAdapter>();
  #underWay: (() => void)[] = [];
  isUp = true;

  constructor(options: MemoryBusOptions) {
    this.options = options;
    this.traits = { ...DEFAULT_TRAITS, ...options };
  }

  adapter(): ClusterAdapter {
    const node = new BusAdapter(this);
    this.#nodes.add(node);
    return node;
  }

  stop(): void {
    this.isUp = false;
    this.#underWay = [];
    for (const node of this.#nodes) node.drop();
  }

  start(): void {
    this.isUp = true;
    for (const node of this.#nodes) node.connect();
  }

  cut(adapter: ClusterAdapter): void {
    const node = this.#nodeOf(adapter);
    node.isCut = true;
    node.drop();
  }

  mend(adapter: ClusterAdapter): void {
    const node = this.#nodeOf(adapter);
    node.isCut = false;
    node.connect();
  }

  deafen(adapter: ClusterAdapter): void {
    this.#nodeOf(adapter).isDeaf = true;
  }

  get channels(): readonly string[] {
    return [...new Set([...this.#nodes].flatMap((node) => [...node.channels]))];
  }

  subscribers(channel: string): number {
    return this.#subscribersOf(channel).length;
  }

  remove(node: BusAdapter): void {
    this.#nodes.delete(node);
  }

  /** Runs that in a later turn, after everything that is under way. */
  later(step: () => void): void {
    this.#underWay.push(step);
    if (this.#underWay.length === 1) setImmediate(this.#arrive);
  }

  /** @returns how many nodes are to receive it */
  send(from: BusAdapter, channel: string, message: Buffer): number {
    const receivers = this.#subscribersOf(channel).filter((node) => this.traits.echo || node !== from);
    this.later(() => {
      for (const node of receivers) {
        const copies = this.options.copies?.(from, node, channel) ?? 1;
        for (let copy = 0; copy < copies; copy++) node.receive(channel, message);
      }
    });
    return receivers.length;
  }

  /** @throws {TypeError} the adapter is not one of this bus, or was closed */
  #nodeOf(adapter: ClusterAdapter): BusAdapter {
    for (const node of this.#nodes) if (node === adapter) return node;
    throw new TypeError('Expected an adapter of this bus that is not closed');
  }

  #subscribersOf(channel: string): BusAdapter[] {
    return [...this.#nodes].filter((node) => node.channels.has(channel));
  }

  readonly #arrive = (): void => {
    const steps = this.#underWay;
    this.#underWay = [];
    for (const step of steps) step();
  };
}

class BusAdapter implements ClusterAdapter {
  readonly #bus: Bus;
  readonly channels = new Set<string>();
  #link: ClusterLink | undefined;
  #isConnected = false;
  #isClosed = false;
  /** Counts the attempts to connect: only the last one counts. */
  #connection = 0;
  readonly #unanswered = new Set<(error: Error) => void>();
  isCut = false;
  isDeaf = false;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  get traits(): ClusterTraits {
    return this.#bus.traits;
  }

  start(link: ClusterLink): void {
    if (this.#link !== undefined)
      throw new Error('The adapter serves a pool already: make one for each pool');
    this.#link = link;
    this.connect();
  }

  subscribe(channels: readonly string[]): Promise<void> {
    return this.#command(() => {
      for (const channel of channels) this.#assertAllowed('subscribe', channel);
      for (const channel of channels) this.channels.add(channel);
    });
  }

  unsubscribe(channels: readonly string[]): Promise<void> {
    return this.#command(() => {
      for (const channel of channels) this.channels.delete(channel);
    });
  }

  publish(channel: string, message: Buffer): Promise<number | undefined> {
    return this.#command(() => {
      this.#assertAllowed('publish', channel);
      const receivers = this.#bus.send(this, channel, message);
      return this.traits.countsReceivers ? receivers : undefined;
    });
  }

  ping(): Promise<void> {
    return this.#command(() => undefined);
  }

  resubscribe(): void {
    this.drop();
    this.isDeaf = false;
    this.connect();
  }

  close(): Promise<void> {
    this.drop();
    this.#isClosed = true;
    this.#bus.remove(this);
    return Promise.resolve();
  }

  connect(): void {
    if (this.#isConnected || this.#link === undefined || this.isCut || !this.#bus.isUp) return;
    const connection = ++this.#connection;
    this.#bus.later(() => {
      if (connection !== this.#connection || this.#isClosed) return;
      this.#isConnected = true;
      this.#link?.up();
    });
  }

  drop(): void {
    this.#connection++;
    this.channels.clear();
    for (const reject of this.#unanswered) reject(new Error('The connection to the broker was lost'));
    this.#unanswered.clear();
    if (!this.#isConnected) return;
    this.#isConnected = false;
    if (!this.#isClosed) this.#link?.down(new Error('The connection to the broker was lost'));
  }

  receive(channel: string, message: Buffer): void {
    // A message may have been under way when the channel was unsubscribed from, or the connection was lost.
    if (!this.channels.has(channel) || this.isDeaf) return;
    try {
      this.#link?.receive(channel, Buffer.from(message));
    } catch {
      // It never throws; if it does all the same, the others still get theirs.
    }
  }

  /** Like a real one, the broker works on commands after they were given, in their order. */
  #command<T>(work: () => T): Promise<T> {
    if (!this.#isConnected) return Promise.reject(new Error('The broker is away'));
    return new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      this.#bus.later(() => {
        // The connection was lost meanwhile, and the command with it.
        if (!this.#unanswered.delete(reject)) return;
        try {
          resolve(work());
        } catch (error) {
          reject(toError(error));
        }
      });
    });
  }

  #assertAllowed(command: 'publish' | 'subscribe', channel: string): void {
    if (this.#bus.options.refuses?.(command, channel)) throw new Error(`NOPERM ${command} of ${channel}`);
  }
}
