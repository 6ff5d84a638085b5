import { progress, type Context } from '../context.js';
import { SERVER_CORE } from '../machine.js';
import type { RegistryCalls, RegistryKind } from '../registry.js';
import { formatSpread } from '../report.js';
import { Remote } from '../rpc.js';
import type { Table } from '../results.js';
import { median } from '../statistics.js';

const KINDS: readonly RegistryKind[] = ['soketi', 'map'];
const OPERATIONS = ['create', 'add', 'look up', 'remove'] as const;
const CONNECTIONS = 50_000;

/** What it costs to know who is connected, beside a bare `Map` of `Map`s, which does nothing else. */
export async function registry({ options }: Context): Promise<Table[]> {
  const servers = KINDS.map(
    (kind) => [kind, new Remote<RegistryCalls>('registry.js', [kind], SERVER_CORE, ['--expose-gc'])] as const,
  );
  const samples = new Map<RegistryKind, number[][]>(KINDS.map((kind) => [kind, []]));
  try {
    for (const [, server] of servers) await server.call('measure', CONNECTIONS);
    for (let round = 0; round < options.rounds; round++) {
      for (const [kind, server] of servers)
        samples.get(kind)?.push(await server.call('measure', CONNECTIONS));
    }
  } finally {
    for (const [, server] of servers) await server.stop();
  }
  const rows = OPERATIONS.map((operation, index) => [
    operation,
    ...KINDS.map((kind) => {
      const nanos = (samples.get(kind) ?? []).map((sample) => sample[index] ?? NaN);
      progress(`${operation}: ${kind} ${formatSpread(median(nanos), nanos)} ns`);
      return formatSpread(median(nanos), nanos);
    }),
  ]);
  const title = `Registry, ${CONNECTIONS.toLocaleString('en-US')} connections in 100 namespaces`;
  return [{ title, notes: [], columns: ['ns per operation', 'soketi', 'bare Map'], rows }];
}
