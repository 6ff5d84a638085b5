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
  const title = `Memory, ${connections.toLocaleString('en-US')} idle connections`;
  return [{ title, notes: [], columns, rows }, await withContexts(candidates, connections)];
}

/** Broadcasts after which every socket has the compression state that it is going to keep. */
const BROADCASTS = 3;

/** The same where every client keeps a compression context, after some broadcasts. One sample each. */
async function withContexts(candidates: readonly CandidateName[], connections: number): Promise<Table> {
  const names: CandidateName[] = ['soketi-history', BARE];
  const rows: string[][] = [];
  for (const name of names.filter((able) => able === 'soketi-history' || candidates.includes(able))) {
    const fleet = await Fleet.open(name, { connections, compression: 'takeover', isWeighed: true });
    try {
      const shape = { pattern: 'b', bytes: 1024, kind: 'json', exceptions: 0 } as const;
      await fleet.run({ ...shape, turns: BROADCASTS, turnsPerAck: 1, window: 1, gapMs: 0 });
      const { heapBytes, rssBytes } = await fleet.memoryPerConnection();
      progress(`${name}, context takeover: RSS ${format(rssBytes)} bytes per connection`);
      rows.push([name, format(heapBytes), format(rssBytes)]);
    } finally {
      await fleet.close();
    }
  }
  const title = `Memory, ${connections.toLocaleString('en-US')} connections that keep a compression context`;
  const notes = [`After ${BROADCASTS} broadcasts of 1 KiB of JSON; one sample each.`];
  return { title, notes, columns: ['bytes per connection', 'heap', 'RSS'], rows };
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
