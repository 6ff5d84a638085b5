import { progress, withFleets, type Context } from '../context.js';
import { loadOf, type Fleet } from '../fleet.js';
import { format, formatPercent, formatSpread } from '../report.js';
import type { Table } from '../results.js';
import { median, percentile } from '../statistics.js';

const BYTES = 64;
const LONE_CONNECTIONS = 10;
const BURST_CONNECTIONS = 1000;
const BURST_SENDERS = [10, 50];
/** Between two lone broadcasts: long enough for server and clients to be at rest, in ms. */
const LONE_GAP_MS = 2;

interface Sample {
  readonly micros: readonly number[];
  readonly clientLoad: number;
}

interface Measured {
  readonly key: string;
  readonly label: string;
  readonly warmUp: number;
  readonly times: number;
  readonly sample: (fleet: Fleet, times: number) => Promise<Sample>;
}

/** From the call to the last receipt: one broadcast alone, and many clients that broadcast at the same moment. */
export async function latency(context: Context): Promise<Table[]> {
  const { isQuick } = context.options;
  const lone: Measured = {
    key: 'latency/lone',
    label: `lone broadcast to ${LONE_CONNECTIONS}`,
    warmUp: 100,
    times: isQuick ? 50 : 200,
    sample: sampleLone,
  };
  const bursts = BURST_SENDERS.map((senders): Measured => ({
    key: `latency/burst/${senders}`,
    label: `${senders} clients broadcast at once to ${BURST_CONNECTIONS}`,
    warmUp: 1,
    times: isQuick ? 1 : 4,
    sample: (fleet, times) => sampleBurst(fleet, senders, times),
  }));
  const rows: string[][] = [];
  await withFleets(context.candidates, { connections: LONE_CONNECTIONS }, context, async (fleets) => {
    rows.push(...(await measure(context, fleets, lone)));
  });
  const settings = { connections: BURST_CONNECTIONS, isEchoing: true };
  await withFleets(context.candidates, settings, context, async (fleets) => {
    for (const burst of bursts) rows.push(...(await measure(context, fleets, burst)));
  });
  const columns = [
    'µs until the last client has it',
    'candidate',
    'p50 (min–max of the rounds)',
    'p99',
    'n',
    'clients',
  ];
  return [{ title: `Latency, ${BYTES} B`, notes: [], columns, rows }];
}

async function measure(
  { options, results }: Context,
  fleets: readonly Fleet[],
  { key, label, warmUp, times, sample }: Measured,
): Promise<string[][]> {
  const samples = new Map<Fleet, Sample[]>(fleets.map((fleet) => [fleet, []]));
  for (const fleet of fleets) await sample(fleet, warmUp);
  for (let round = 0; round < options.rounds; round++) {
    for (const [fleet, taken] of samples) taken.push(await sample(fleet, times));
  }
  return [...samples].map(([{ name }, taken]) => {
    const middles = taken.map(({ micros }) => percentile(micros, 0.5));
    const all = taken.flatMap(({ micros }) => micros);
    results.set(key, name, median(middles));
    progress(`${label}: ${name} ${formatSpread(median(middles), middles)} µs`);
    const clientLoad = median(taken.map((round) => round.clientLoad));
    return [
      label,
      name,
      formatSpread(median(middles), middles),
      format(percentile(all, 0.99)),
      String(all.length),
      formatPercent(clientLoad),
    ];
  });
}

async function sampleLone(fleet: Fleet, turns: number): Promise<Sample> {
  const shape = { pattern: 'b', bytes: BYTES, kind: 'text', exceptions: 0 } as const;
  const round = await fleet.run({ ...shape, turns, turnsPerAck: 1, window: 1, gapMs: LONE_GAP_MS });
  return { micros: round.latenciesMicros, clientLoad: round.clientLoad };
}

async function sampleBurst(fleet: Fleet, senders: number, times: number): Promise<Sample> {
  const round = await fleet.burst({ senders, times, bytes: BYTES });
  return { micros: round.latenciesMicros, clientLoad: loadOf(round) };
}
