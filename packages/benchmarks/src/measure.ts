import { formatSpread, Remote, SERVER_CORE, withProcesses } from '@soketi/load/harness';
import type { Load } from './calls.js';
import type { CandidateName, Subject } from './candidates/index.js';
import { Fleet, type FleetSettings, type Measure, type Sample } from './fleet.js';
import { deliveries, isPersonal, kindOf, type KindName } from './kinds.js';
import type { Options } from './options.js';
import type { RegistryCalls } from './registry.js';
import type { MetricName, Result } from './report.js';
import type { Compression } from './settings.js';

/** Rows that are measured together. */
export interface Group {
  readonly title: string;
  readonly candidates: readonly CandidateName[];
  readonly connections: number;
  readonly compression: Compression;
  readonly method: Method;
  readonly metrics: readonly MetricName[];
  readonly rows: readonly Row[];
  /** Overrides the command line. */
  readonly rounds?: number;
}

export interface Row {
  readonly key: string;
  readonly label: string;
  /** What each turn sends. */
  readonly turn: readonly KindName[];
  readonly bytes: number;
  readonly body: Load['body'];
  /** One turn at a time, each of them timed if there is a gap; otherwise as many as possible. */
  readonly paced?: { readonly gapMs: number; readonly warmUp: number; readonly turns: number };
}

/** By candidate. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

/** @returns the results of each row of the group */
export type Method = (group: Group, subjects: readonly Subject[], options: Options) => Promise<Samples[]>;

type Plan = Omit<Load, 'base'>;

/** How many deliveries one acknowledgement stands for: so many that its cost does not matter. */
const DELIVERIES_PER_ACK = 1000;
/** Bytes that may be on their way to one client: the buffers of the kernel hold them. */
const MAX_BYTES_AHEAD = 64 * 1024;
/** Bytes of text that are prepared for one round. */
const MAX_PREPARED_BYTES = 48 * 1024 * 1024;
const MAX_TURNS = 20_000;
/** Rounds that do not count. */
const WARM_UP_ROUNDS = 4;

export async function measure(
  group: Group,
  subjects: readonly Subject[],
  options: Options,
): Promise<Result[]> {
  console.error(group.title);
  const able = subjects.filter(({ candidate }) => group.candidates.includes(candidate));
  const samples = await group.method(group, able, options);
  return group.rows.map((row, index) => ({
    ...group,
    ...row,
    samples: samples[index] ?? new Map<string, Sample[]>(),
  }));
}

/** All rows on the same fleets, candidates taking turns. */
export const onTheSameFleets: Method = (group, subjects, options) =>
  withProcesses(async (started) => {
    const fleets: Fleet[] = [];
    const settings = settingsOf(group, options);
    for (const subject of subjects) fleets.push(await new Fleet(subject, settings, started).connect());
    const results: Samples[] = [];
    for (const row of group.rows) {
      const able = new Map<string, () => Promise<Sample>>();
      for (const fleet of fleets.filter((each) => each.canSend(row.turn))) {
        const plan = await warmUp(fleet, row, options);
        able.set(fleet.subject.name, () => fleet.run(plan));
      }
      results.push(await interleave(row.label, able, options.rounds));
    }
    return results;
  });

/** A new server process for each sample of its memory, after the turns of the row, if there are any. */
export const afresh: Method = async (group, subjects, options) => {
  const results: Samples[] = [];
  for (const row of group.rows) {
    const weigh = (subject: Subject) => (): Promise<Sample> =>
      withProcesses(async (started) => {
        const fleet = await new Fleet(subject, settingsOf(group, options), started).connect();
        if (row.paced) await fleet.run(pacedPlan(row, row.paced.turns));
        return fleet.weigh();
      });
    const able = new Map(subjects.map((subject) => [subject.name, weigh(subject)]));
    results.push(await interleave(row.label, able, group.rounds ?? options.rounds));
  }
  return results;
};

/** The cost of knowing who is connected: a row for each operation, in a process for each kind of registry. */
export const inRegistries: Method = ({ title, connections, rows }, subjects, { rounds }) =>
  withProcesses(async (started) => {
    const able = new Map<string, () => Promise<Sample>>();
    for (const { name, module } of [...subjects, { name: 'bare Map', module: '' }]) {
      const options = { args: [module], core: SERVER_CORE, nodeArgs: ['--expose-gc'] };
      const registry: Remote<RegistryCalls> = started(
        new Remote(new URL('registry.js', import.meta.url), options),
      );
      able.set(name, async () => ({ nanosPerOperation: await registry.call('measure', connections) }));
    }
    for (const warmUp of able.values()) await warmUp();
    const samples = [...(await interleave(title, able, rounds))];
    const pick =
      (index: number) =>
      (sample: Sample): Sample => {
        return { nanosPerOperation: [sample.nanosPerOperation?.[index] ?? NaN] };
      };
    return rows.map((_, index) => new Map(samples.map(([name, taken]) => [name, taken.map(pick(index))])));
  });

/** One sample of each candidate in turn: A B C A B C … */
async function interleave(
  label: string,
  able: ReadonlyMap<string, () => Promise<Sample>>,
  rounds: number,
): Promise<Samples> {
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, sample] of able) samples.set(name, [...(samples.get(name) ?? []), await sample()]);
  }
  for (const [name, taken] of samples) {
    const measures = Object.keys(taken[0] ?? {}) as Measure[];
    const figures = measures.map(
      (measure) => `${measure} ${formatSpread(taken.flatMap((each) => each[measure] ?? []))}`,
    );
    console.error(`  ${label}, ${name}: ${figures.join(', ')}`);
  }
  return samples;
}

function settingsOf({ connections, compression, rows }: Group, { profileArgs }: Options): FleetSettings {
  const kinds = rows.flatMap(({ turn }) => turn.map(kindOf));
  const reaction = kinds.find((kind) => kind.reaction)?.reaction;
  const rooms = kinds.find((kind) => kind.rooms)?.rooms;
  return {
    connections,
    compression,
    reaction,
    rooms,
    isIndexed: kinds.some(isPersonal),
    serverArgs: profileArgs,
  };
}

/** Warms up, and finds how many turns cost about as much CPU as a round should. */
async function warmUp(fleet: Fleet, row: Row, { roundMs, isQuick }: Options): Promise<Plan> {
  if (row.paced) {
    await fleet.run(pacedPlan(row, row.paced.warmUp));
    return pacedPlan(row, isQuick ? Math.ceil(row.paced.turns / 4) : row.paced.turns);
  }
  const { connections } = fleet.settings;
  const messages = sum(row.turn.map((kind, at) => deliveries(kind, connections, at)));
  const texts = row.turn.length * (row.turn.map(kindOf).some(isPersonal) ? connections : 1);
  const most = Math.min(MAX_TURNS, MAX_PREPARED_BYTES / (row.bytes * texts));
  let turns = 1;
  // Cold code is slower, so the first rounds are shorter than the final ones.
  for (let times = 0; times < WARM_UP_ROUNDS; times++) {
    const { cpuNanosPerMessage = [] } = await fleet.run(fastPlan(row, turns, connections));
    turns = Math.max(1, Math.min(most, Math.ceil((roundMs * 1e6) / (sum(cpuNanosPerMessage) * messages))));
  }
  return fastPlan(row, turns, connections);
}

/** That many turns or a few more, as fast as the clients follow. */
function fastPlan({ turn, bytes, body }: Row, turns: number, connections: number): Plan {
  const enough = Math.ceil(DELIVERIES_PER_ACK / (connections * turn.length));
  const most = Math.max(1, Math.floor(MAX_BYTES_AHEAD / 2 / (bytes * turn.length)));
  const turnsPerAck = Math.min(enough, most);
  const rounded = Math.max(2, Math.ceil(turns / turnsPerAck)) * turnsPerAck;
  return { turn, bytes, body, turns: rounded, turnsPerAck, window: 2 * turnsPerAck, gapMs: 0 };
}

/** One turn at a time. */
function pacedPlan({ turn, bytes, body, paced }: Row, turns: number): Plan {
  return { turn, bytes, body, turns, turnsPerAck: 1, window: 1, gapMs: paced?.gapMs ?? 0 };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
