import { type CandidateName, entryOf } from './candidates/index.js';
import { progress, withFleets, type Context } from './context.js';
import type { Fleet, FleetSettings, Round } from './fleet.js';
import type { Load } from './load.js';
import { format, formatPercent, formatSpread } from './report.js';
import type { Table } from './results.js';
import { median } from './statistics.js';

/** What a turn consists of. */
export type Shape = Pick<Load, 'pattern' | 'bytes'> & Partial<Pick<Load, 'kind' | 'exceptions'>>;

export interface Row {
  /** By which the goals find it. */
  readonly key: string;
  readonly label: string;
  readonly shape: Shape;
}

/** Deliveries that one acknowledgement should stand for, so that it costs nothing beside them. */
const DELIVERIES_PER_ACK = 1000;
/** Bytes that may be on their way to one client: the buffers of the kernel hold them. */
const MAX_BYTES_AHEAD = 64 * 1024;
/** Texts that are prepared for one round, in bytes. */
const MAX_PREPARED_BYTES = 48 * 1024 * 1024;
const MAX_TURNS = 20_000;
/** Rounds that are not counted. */
const WARM_UP_ROUNDS = 4;
/** Above this the clients may hold up the server. */
const BUSY_CLIENT = 0.8;

/** Measures each row on the same fleets, candidates taking turns, and puts the rows into a table. */
export async function measureRows(
  context: Context,
  title: string,
  settings: FleetSettings,
  rows: readonly Row[],
): Promise<Table> {
  const names = context.candidates.filter((name) => rows.some(({ shape }) => canDo(name, shape)));
  const cells = await withFleets(names, settings, context, async (fleets) => {
    const lines: string[][] = [];
    for (const row of rows) lines.push(await measureRow(context, fleets, row));
    return lines;
  });
  return { title, notes: [], columns: ['ns of server CPU per message', ...names, 'clients'], rows: cells };
}

/** The cells of one row: label, one per candidate, and how busy the clients were. */
export async function measureRow(
  { options, results }: Context,
  fleets: readonly Fleet[],
  { key, label, shape }: Row,
): Promise<string[]> {
  const able = fleets.filter(({ name }) => canDo(name, shape));
  const rounds = new Map<Fleet, Round[]>();
  const turns = new Map<Fleet, number>();
  for (const fleet of able) {
    turns.set(fleet, await calibrate(fleet, shape, options.roundMs));
    rounds.set(fleet, []);
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const fleet of able)
      rounds.get(fleet)?.push(await fleet.run(plan(fleet, shape, turns.get(fleet) ?? 1)));
  }
  const clientLoads: number[] = [];
  const cells = fleets.map((fleet) => {
    const measured = rounds.get(fleet);
    if (measured === undefined) return '-';
    const costs = measured.map(({ cpuNanosPerMessage }) => cpuNanosPerMessage);
    const clientLoad = median(measured.map((round) => round.clientLoad));
    const perSecond = median(measured.map(({ messagesPerSecond }) => messagesPerSecond));
    clientLoads.push(clientLoad);
    results.set(key, fleet.name, median(costs));
    results.set(`${key}/bytes`, fleet.name, median(measured.map(({ bytesPerMessage }) => bytesPerMessage)));
    progress(
      `${label}: ${fleet.name} ${formatSpread(median(costs), costs)} ns, ${format(perSecond)} messages/s, ` +
        `clients ${formatPercent(clientLoad)}`,
    );
    return formatSpread(median(costs), costs) + (clientLoad > BUSY_CLIENT ? ' \\*' : '');
  });
  return [
    label,
    ...cells,
    `${formatPercent(Math.min(...clientLoads))}–${formatPercent(Math.max(...clientLoads))}`,
  ];
}

function canDo(name: CandidateName, { pattern, exceptions = 0 }: Shape): boolean {
  const { maxExceptions, hasPrivateMessages } = entryOf(name);
  return exceptions <= maxExceptions && (hasPrivateMessages || !pattern.includes('p'));
}

/** The load of that many turns, and how far the server may run ahead in it. */
function plan({ settings }: Fleet, shape: Shape, turns: number): Omit<Load, 'base'> {
  const turnsPerAck = turnsPerAckOf(settings.connections, shape);
  const rounded = Math.max(2, Math.ceil(turns / turnsPerAck)) * turnsPerAck;
  return {
    kind: 'text',
    exceptions: 0,
    ...shape,
    turns: rounded,
    turnsPerAck,
    window: 2 * turnsPerAck,
    gapMs: 0,
  };
}

function turnsPerAckOf(connections: number, { pattern, bytes }: Shape): number {
  const enough = Math.ceil(DELIVERIES_PER_ACK / (connections * pattern.length));
  const most = Math.max(1, Math.floor(MAX_BYTES_AHEAD / 2 / (bytes * pattern.length)));
  return Math.min(enough, most);
}

/** Warms up, and finds how many turns cost about that much CPU. */
async function calibrate(fleet: Fleet, shape: Shape, roundMs: number): Promise<number> {
  const most = Math.min(MAX_TURNS, MAX_PREPARED_BYTES / (shape.bytes * preparedPerTurn(fleet, shape)));
  let turns = 1;
  // What is cold looks expensive: the first rounds are shorter than those that they lead to.
  for (let times = 0; times < WARM_UP_ROUNDS; times++) {
    const load = plan(fleet, shape, turns);
    const { cpuMs } = await fleet.run(load);
    turns = Math.max(1, Math.min(most, Math.ceil((roundMs * load.turns) / cpuMs)));
  }
  return turns;
}

function preparedPerTurn({ settings }: Fleet, { pattern }: Shape): number {
  return Array.from(pattern, (letter) => (letter === 'p' ? settings.connections : 1)).reduce(
    (sum, texts) => sum + texts,
  );
}
