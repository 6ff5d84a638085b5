import { vi } from 'vitest';
import { Connection, type ConnectionsPool, type DrainOptions, type DrainReport } from '../../src/index.js';
import type { ClusterOptions } from '../../src/cluster/cluster-options.js';
import { memoryBus, type MemoryBus, type MemoryBusOptions } from '../../src/testing.js';
import type { ClusterAdapter } from '../../src/index.js';
import { pass, poolsOn } from './cluster-nodes.js';
import { TimedSocket } from './timed-pool.js';

/** One node that can be drained, with its sockets. */
export class DrainingNode {
  readonly pool: ConnectionsPool;
  readonly adapter: ClusterAdapter;
  readonly #sockets: TimedSocket[] = [];
  report: DrainReport | undefined;

  constructor(pool: ConnectionsPool, adapter: ClusterAdapter) {
    this.pool = pool;
    this.adapter = adapter;
  }

  fill(count: number): void {
    for (let index = 0; index < count; index++) {
      const socket = new TimedSocket();
      this.#sockets.push(socket);
      void this.pool.newConnection(new Connection(`${this.pool.cluster.nodeId} ${index}`, 'x', socket));
    }
  }

  drain(options: DrainOptions): void {
    void this.pool.drainConnections(options).then(
      (report) => (this.report = report),
      () => undefined,
    );
  }

  /** When each close was begun, by the fake clock. */
  get closesMs(): number[] {
    return this.#sockets.flatMap(({ closedAtMs }) => closedAtMs ?? []);
  }

  /** How many closes began in these last ms. */
  closesWithin(ms: number): number {
    return this.closesMs.filter((atMs) => atMs > performance.now() - ms).length;
  }
}

/** Nodes of one bus with that many connections each, which know each other. For a fake clock. */
export async function drainingNodes(
  counts: readonly number[],
  busOptions: MemoryBusOptions = {},
  cluster: ClusterOptions = {},
): Promise<{ bus: MemoryBus; nodes: DrainingNode[] }> {
  const bus = memoryBus(busOptions);
  const adapters: ClusterAdapter[] = [];
  const adapter = (): ClusterAdapter => {
    adapters.push(bus.adapter());
    return adapters.at(-1)!;
  };
  const pools = await poolsOn({ ...bus, adapter }, counts.length, { cluster });
  const nodes = pools.map((pool, index) => new DrainingNode(pool, adapters[index]!));
  for (const [index, node] of nodes.entries()) node.fill(counts[index]!);
  // Until every node knows that the others may have connections, and nothing is pending.
  await pass(1_000);
  return { bus, nodes };
}

export const closesOfAll = (nodes: readonly DrainingNode[]): number[] =>
  nodes.flatMap(({ closesMs }) => closesMs);

/** Moves the fake clock until all have been drained, or that much time has passed. */
export async function untilDrained(nodes: readonly DrainingNode[], withinMs: number): Promise<void> {
  for (let passedMs = 0; passedMs < withinMs; passedMs += 100) {
    if (nodes.every(({ report }) => report !== undefined)) return;
    await vi.advanceTimersByTimeAsync(100);
  }
}
