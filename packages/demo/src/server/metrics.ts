import type { Cluster, ClusterState, ClusterStats, PoolStats } from '@soketi/connections';
import { Counter, Gauge, Registry } from 'prom-client';

/** Gauges; every other figure only grows. */
const GAUGES: ReadonlySet<string> = new Set<keyof PoolStats | keyof ClusterStats>([
  'connections',
  'namespaces',
  'rooms',
  'slowNow',
  'closing',
  'queuedBytes',
  'roundTripMs',
]);
const STATES: readonly ClusterState[] = ['alone', 'connecting', 'up', 'degraded', 'down'];

interface Measured {
  readonly cluster: Pick<Cluster, 'state' | 'nodes' | 'stats'>;
  stats(): PoolStats;
}

/**
 * The figures of the pool and of its cluster layer in the format of Prometheus, read on request.
 *
 * @param node a label for all of them, if several processes answer on one port
 */
export function createMetrics(pool: Measured, node?: string): Registry {
  const registry = new Registry();
  if (node !== undefined) registry.setDefaultLabels({ node });
  addAll(registry, 'soketi', 'pool.stats()', () => pool.stats());
  addAll(registry, 'soketi_cluster', 'pool.cluster.stats()', () => pool.cluster.stats());
  new Gauge({
    name: 'soketi_cluster_nodes',
    help: 'pool.cluster.nodes',
    registers: [registry],
    collect() {
      this.set(pool.cluster.nodes.size);
    },
  });
  new Gauge({
    name: 'soketi_cluster_state',
    help: 'pool.cluster.state: 1 for the present state, 0 for the others',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      for (const state of STATES) this.set({ state }, pool.cluster.state === state ? 1 : 0);
    },
  });
  return registry;
}

function addAll(registry: Registry, prefix: string, source: string, read: () => object): void {
  for (const stat of Object.keys(read())) {
    const name = `${prefix}_${snakeCase(stat)}`;
    const help = `${stat} of ${source}`;
    const value = (): number => (read() as Record<string, number>)[stat] ?? 0;
    const registers = [registry];
    if (GAUGES.has(stat)) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    } else {
      new Counter({
        name: `${name}_total`,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    }
  }
}

function snakeCase(camelCase: string): string {
  return camelCase.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
