import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import {
  ConnectionsPool,
  type ClusterAdapter,
  type ClusterOptions,
  type Degradation,
  type Recovery,
} from '../../../connections/src/index.js';
import { expect, vi } from 'vitest';
import { connectInMemory, type MemorySocket } from '../../../connections/test/support/memory-socket.js';
import { onTestFinished } from '../../../connections/test/support/on-test-finished.js';
import { redisAdapter } from '../../src/index.js';
import type { ClientOptions, Library } from './clients.js';

const WAIT = { timeout: 30_000, interval: 20 };

/** Like `expect.poll`, which does not work in concurrent tests. */
export async function until(check: () => unknown): Promise<void> {
  await vi.waitUntil(check, WAIT);
}

/**
 * An echo that a busy machine delays by a second must not count as an outage. An outage of half a second must drop
 * messages.
 */
const CLUSTER = { heartbeat: 1_000, nodeTimeout: 10_000, maxQueuedMs: 200 };

/** A pool over Redis, and the events that it emits. It leaves the cluster when the test ends. */
export class PoolNode {
  readonly pool: ConnectionsPool;
  readonly degraded: Degradation[] = [];
  readonly recovered: Recovery[] = [];

  constructor(adapter: ClusterAdapter, end: () => void, cluster: ClusterOptions = {}) {
    const settings = { ...CLUSTER, ...cluster };
    this.pool = new ConnectionsPool({ adapter, onDuplicate: 'replace', cluster: settings });
    this.pool.on('degraded', (degradation) => this.degraded.push(degradation));
    this.pool.on('recovered', (recovery) => this.recovered.push(recovery));
    onTestFinished(async () => {
      await this.pool.cluster.leave();
      end();
    });
  }

  /** @param receiver where the receiving connection goes, if not to the server of the client */
  static async start(
    library: Library,
    options: ClientOptions,
    { receiver, ...cluster }: ClusterOptions & { readonly receiver?: ClientOptions } = {},
  ): Promise<PoolNode> {
    const { client, connect, end } = library.create(options);
    const subscriber = receiver && library.create(receiver).client;
    await connect();
    return new PoolNode(redisAdapter({ client, ...(subscriber && { subscriber }) }), end, cluster);
  }

  async join(id: string, namespace = 'default'): Promise<MemorySocket> {
    const { socket, connection } = connectInMemory(id, namespace);
    await this.pool.newConnection(connection);
    return socket;
  }

  untilUp = () => until(() => this.pool.cluster.state === 'up');
  untilDegraded = () => until(() => this.degraded.length > 0);
  untilRecovered = () => until(() => this.recovered.length > 0);

  /** How often it was degraded, and how often it recovered. */
  get falls(): readonly [number, number] {
    return [this.degraded.length, this.recovered.length];
  }
}

const INTERVAL_MS = 5;

/** Broadcasts of one node, a few per batch, to a member of that node and to one of another node. */
export class Traffic {
  readonly #from: PoolNode;
  readonly #to: PoolNode;
  readonly #here: MemorySocket;
  readonly #there: MemorySocket;
  readonly #flow: Promise<void>;
  #isEnding = false;
  #sent = 0;
  /** Broadcasts that their own node did not deliver at the end of the turn. */
  #late = 0;

  private constructor(from: PoolNode, here: MemorySocket, to: PoolNode, there: MemorySocket) {
    [this.#from, this.#here, this.#to, this.#there] = [from, here, to, there];
    this.#flow = this.#broadcast();
    onTestFinished(() => this.#stop());
  }

  static async between(from: PoolNode, to: PoolNode): Promise<Traffic> {
    for (const node of [from, to]) await node.untilUp();
    const traffic = new Traffic(from, await from.join('here'), to, await to.join('there'));
    await traffic.#untilItFlows();
    return traffic;
  }

  /** Ends the traffic, and checks what must always hold. @returns how many messages were lost */
  async end(): Promise<number> {
    await this.#untilItFlows();
    await this.#stop();
    await until(() => this.#numbers.at(-1) === this.#sent - 1);
    expect(this.#here.sent).toHaveLength(this.#sent);
    expect(this.#late).toBe(0);
    const numbers = this.#numbers;
    // In order, and each at most once.
    expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other));
    const lost = this.#sent - numbers.length;
    // The receiver sees every gap, whether the sender has dropped a batch or the broker has lost it.
    if (lost > 0) expect(this.#to.pool.cluster.stats().gaps).toBeGreaterThan(0);
    await until(() => this.#from.pool.cluster.stats().queuedBytes === 0);
    return lost;
  }

  get #numbers(): number[] {
    return this.#there.sent.map(Number);
  }

  /** Resolves when a message that is broadcast from now on has arrived. */
  async #untilItFlows(): Promise<void> {
    const first = this.#sent;
    await until(() => (this.#numbers.at(-1) ?? -1) >= first);
  }

  async #broadcast(): Promise<void> {
    while (!this.#isEnding) {
      void this.#from.pool.broadcastMessage('default', `${this.#sent++}`);
      await nextTurn();
      if (this.#here.sent.length < this.#sent) this.#late++;
      await sleep(INTERVAL_MS);
    }
  }

  async #stop(): Promise<void> {
    this.#isEnding = true;
    await this.#flow;
  }
}
