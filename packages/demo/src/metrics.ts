import type { PoolStats } from '@soketi/connections';
import { Counter, Gauge, Registry } from 'prom-client';

type Stat = keyof PoolStats;

/** What the pool holds now; every other figure of `stats()` only grows. */
const GAUGES: ReadonlySet<Stat> = new Set<Stat>(['connections', 'namespaces', 'rooms', 'slowNow', 'closing']);

/** The pool's `stats()` in the format of Prometheus, read when it is asked for. */
export function createMetrics(pool: { stats(): PoolStats }): Registry {
  const registry = new Registry();
  for (const stat of Object.keys(pool.stats()) as Stat[]) {
    const name = `soketi_${snakeCase(stat)}`;
    const help = `${stat} of pool.stats()`;
    const registers = [registry];
    if (GAUGES.has(stat)) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(pool.stats()[stat]);
        },
      });
    } else {
      new Counter({
        name: `${name}_total`,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(pool.stats()[stat]);
        },
      });
    }
  }
  return registry;
}

function snakeCase(camelCase: string): string {
  return camelCase.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
