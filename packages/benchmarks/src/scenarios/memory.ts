import type { CandidateName } from '../candidates/index.js';
import { progress, type Context } from '../context.js';
import { Fleet } from '../fleet.js';
import type { Memory } from '../load.js';
import { format, formatSpread } from '../report.js';
import type { Table } from '../results.js';
import { median } from '../statistics.js';

const CONNECTIONS = 5000;
const QUICK_CONNECTIONS = 1000;

/** What all others are compared with: `ws` alone, nothing kept beside `wss.clients`. */
const BARE: CandidateName = 'ws-loop';

/** Bytes of the server per idle connection, after a forced collection. A process of its own for each sample. */
export async function memory({ options, candidates, results }: Context): Promise<Table[]> {
  const connections = options.isQuick ? QUICK_CONNECTIONS : CONNECTIONS;
  const names = candidates.filter((name) => name !== 'raw');
  const samples = new Map<CandidateName, Memory[]>(names.map((name) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const [name, taken] of samples) taken.push(await sample(name, connections));
  }
  const heaps = (name: CandidateName): number[] =>
    (samples.get(name) ?? []).map(({ heapBytes }) => heapBytes);
  const sets = (name: CandidateName): number[] => (samples.get(name) ?? []).map(({ rssBytes }) => rssBytes);
  const rows = names.map((name) => {
    const aboveHeap = median(heaps(name)) - median(heaps(BARE));
    const aboveRss = median(sets(name)) - median(sets(BARE));
    results.set('memory/heap-above-ws', name, aboveHeap);
    return [
      name,
      formatSpread(median(heaps(name)), heaps(name)),
      format(aboveHeap),
      formatSpread(median(sets(name)), sets(name)),
      format(aboveRss),
    ];
  });
  const columns = ['bytes per idle connection', 'heap', 'above ws', 'RSS', 'above ws'];
  return [
    { title: `Memory, ${connections.toLocaleString('en-US')} idle connections`, notes: [], columns, rows },
  ];
}

async function sample(name: CandidateName, connections: number): Promise<Memory> {
  const fleet = await Fleet.open(name, { connections, isWeighed: true });
  try {
    const measured = await fleet.memoryPerConnection();
    progress(
      `${name}: heap ${format(measured.heapBytes)}, RSS ${format(measured.rssBytes)} bytes per connection`,
    );
    return measured;
  } finally {
    await fleet.close();
  }
}
