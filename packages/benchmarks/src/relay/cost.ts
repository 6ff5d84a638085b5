import { formatSpread, median, withProcesses, type Table } from '@soketi/load/harness';
import type { Limit } from '../goals.js';
import { startBroker } from './between.js';
import type { RelayCandidateName, RelayLoad, Transport } from './calls.js';
import type { RelayCandidate } from './candidates/candidate.js';
import { RELAY_CANDIDATES } from './candidates/index.js';
import { COST_GOALS } from './goals.js';
import type { RelayOptions } from './options.js';
import { Pair, type RelaySample } from './pair.js';
import type { Report } from './report.js';
import { labelOf, rowsOf, type CostRow } from './rows.js';

/** How many messages one acknowledgement stands for: so many that its cost does not matter. */
const MESSAGES_PER_ACK = 1_000;
/** Bytes that may be on their way: few enough that no broker and no queue is full. */
const MAX_BYTES_AHEAD = 512 * 1024;
/** Rounds that do not count: they warm up, and find how many messages a round needs. */
const WARM_UP_ROUNDS = 3;
const FIRST_MESSAGES = 1_000;
/** 100,000 messages in five rounds, unless they are large or a message takes longer than this, in ms of CPU. */
const LEAST_MESSAGES = 20_000;
const MAX_ROUND_MS = 2_500;
const LARGE_BYTES = 4_096;

type Samples = ReadonlyMap<RelayCandidateName, readonly RelaySample[]>;

/** The results of each row of one transport. */
interface Measured {
  readonly transport: Transport;
  readonly rows: readonly { readonly row: CostRow; readonly samples: Samples }[];
}

const ofNodes = ({ publisherNanos, receiverNanos }: RelaySample): number => publisherNanos + receiverNanos;
const ofAll = (sample: RelaySample): number => ofNodes(sample) + sample.brokerNanos;

/** CPU per relayed message, for each transport. */
export async function measureCost(options: RelayOptions): Promise<Report> {
  const all: Measured[] = [];
  for (const transport of options.transports) all.push(await measureOver(transport, options));
  return { goals: all.flatMap(goalsOf), tables: all.flatMap(tablesOf) };
}

async function measureOver(transport: Transport, options: RelayOptions): Promise<Measured> {
  console.error(`Relay over ${transport}`);
  const broker = await startBroker(transport);
  try {
    return await withProcesses(async (started) => {
      const pairs = new Map<RelayCandidateName, Pair>();
      for (const candidate of options.candidates.filter((name) => modulesOf(name)[transport])) {
        const settings = { candidate, transport };
        pairs.set(candidate, await Pair.join(settings, broker, options.nodeArgs, started));
      }
      const rows = [];
      for (const row of rowsOf(transport, options.isFull)) {
        rows.push({ row, samples: await measureRow(row, pairs, options) });
      }
      return { transport, rows };
    });
  } finally {
    // Ends after the nodes, so that none of them sees it go.
    await broker?.stop();
  }
}

async function measureRow(
  row: CostRow,
  pairs: ReadonlyMap<RelayCandidateName, Pair>,
  { rounds, roundMs, isQuick }: RelayOptions,
): Promise<Samples> {
  const runs = new Map<RelayCandidateName, () => Promise<RelaySample>>();
  for (const [name, pair] of pairs) {
    const { hasNoExceptions = false }: RelayCandidate = RELAY_CANDIDATES[name];
    if (row.hasException && hasNoExceptions) continue;
    let messages = FIRST_MESSAGES;
    for (let times = 0; times < WARM_UP_ROUNDS; times++) {
      const nanos = ofNodes(await pair.run(loadOf(row, messages)));
      const least = isQuick || row.bytes > LARGE_BYTES ? 0 : LEAST_MESSAGES;
      messages = Math.min(Math.max((roundMs * 1e6) / nanos, least), (MAX_ROUND_MS * 1e6) / nanos);
    }
    runs.set(name, () => pair.run(loadOf(row, messages)));
  }
  const samples = new Map<RelayCandidateName, RelaySample[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of runs) samples.set(name, [...(samples.get(name) ?? []), await run()]);
  }
  for (const [name, taken] of samples) {
    console.error(`  ${labelOf(row)}, ${name}: ${formatSpread(taken.map(ofNodes))} ns`);
  }
  return samples;
}

/** That many messages or a few more, as fast as the receiver follows. */
function loadOf(row: CostRow, messages: number): RelayLoad {
  const turns = Math.ceil(messages / row.perTurn);
  const most = Math.floor(MAX_BYTES_AHEAD / 2 / (row.bytes * row.perTurn));
  const turnsPerAck = Math.max(1, Math.min(Math.floor(MESSAGES_PER_ACK / row.perTurn), most, turns));
  const rounded = Math.max(2, Math.ceil(turns / turnsPerAck)) * turnsPerAck;
  return { ...row, turns: rounded, turnsPerAck, window: 2 * turnsPerAck, gapMs: 0 };
}

const modulesOf = (name: RelayCandidateName): RelayCandidate['modules'] => RELAY_CANDIDATES[name].modules;

/**
 * How much less this library needs than another candidate: compared round by round, because these rounds were
 * neighbours.
 */
function ratios(
  ours: readonly RelaySample[] = [],
  theirs: readonly RelaySample[] = [],
  figure: (sample: RelaySample) => number = ofNodes,
): number[] {
  return theirs.flatMap((sample, round) => {
    const our = ours[round];
    return our ? [figure(sample) / figure(our)] : [];
  });
}

function goalsOf({ transport, rows }: Measured): Report['goals'] {
  return rows.flatMap(({ row, samples }) => {
    const goals = Object.entries(COST_GOALS[transport]?.[labelOf(row)] ?? {}) as [
      RelayCandidateName,
      Limit,
    ][];
    return goals.flatMap(([against, { theirRow, text, compare, isMet, show }]) => {
      const others = rows.find((other) => labelOf(other.row) === theirRow)?.samples ?? samples;
      const [ours, theirs] = [samples.get('soketi'), others.get(against)];
      if (ours === undefined || theirs === undefined) return [];
      const measured = compare(median(ours.map(ofNodes)), median(theirs.map(ofNodes)));
      const scenario = `${transport}: ${labelOf(row)}`;
      const other = theirRow ?? against;
      return [[scenario, other, text, show(measured), isMet(measured) ? 'yes' : 'NO']];
    });
  });
}

function tablesOf({ transport, rows }: Measured): Table[] {
  const names = [...new Set(rows.flatMap(({ samples }) => [...samples.keys()]))];
  const table = (title: string, what: string, figure: (sample: RelaySample) => number): Table => ({
    title: `Relay over ${transport}: ${title}`,
    notes: [],
    columns: [what, ...names],
    rows: rows.map(({ row, samples }) => [
      labelOf(row),
      ...names.map((name) => spread(samples.get(name), figure)),
    ]),
  });
  const others = names.filter((name) => name !== 'soketi');
  const comparison: Table = {
    title: `Relay over ${transport}: how many times less CPU this library needs`,
    notes: [],
    columns: ['publisher and receiver; with the broker', ...others],
    rows: rows.map(({ row, samples }) => [
      labelOf(row),
      ...others.map((name) => {
        const [ours, theirs] = [samples.get('soketi'), samples.get(name)];
        if (!ours || !theirs) return '-';
        return `${formatSpread(ratios(ours, theirs))}; ${formatSpread(ratios(ours, theirs, ofAll))}`;
      }),
    ]),
  };
  return [
    ...(others.length < names.length && others.length > 0 ? [comparison] : []),
    table('nodes', 'ns of CPU per message, publisher and receiver', ofNodes),
    table(
      'between them',
      `ns of CPU per message, ${transport === 'ipc' ? 'primary' : 'broker'}`,
      ({ brokerNanos }) => brokerNanos,
    ),
    ...(rows.some(({ samples }) => hasBytes(samples))
      ? [
          table(
            'bytes',
            'bytes read and written by the broker per message',
            ({ brokerBytes = NaN }) => brokerBytes,
          ),
        ]
      : []),
    table(
      'saturation',
      'messages per second, as fast as the receiver follows',
      ({ messagesPerSecond }) => messagesPerSecond,
    ),
  ];
}

const hasBytes = (samples: Samples): boolean =>
  [...samples.values()].some(([first]) => first?.brokerBytes !== undefined);

function spread(
  samples: readonly RelaySample[] | undefined,
  figure: (sample: RelaySample) => number,
): string {
  return samples === undefined ? '-' : formatSpread(samples.map(figure));
}
