import type { CandidateName } from './candidates/index.js';
import type { Results, Table } from './results.js';

interface Goal {
  readonly scenario: string;
  readonly against: string;
  readonly goal: string;
  /** `undefined` when it was not measured in this run. */
  readonly measure: (results: Results) => { readonly value: string; readonly isMet: boolean } | undefined;
}

/** How many times better this library is, by its median. */
function times(scenario: string, row: string, against: CandidateName, least: number): Goal {
  return {
    scenario,
    against,
    goal: `${least} ×`,
    measure(results) {
      const [ours, theirs] = [results.get(row, 'soketi'), results.get(row, against)];
      if (ours === undefined || theirs === undefined) return undefined;
      return { value: `${(theirs / ours).toFixed(2)} ×`, isMet: theirs / ours >= least };
    },
  };
}

/** The most that this library's figure may be above another one. */
function within(
  scenario: string,
  [row, candidate]: readonly [string, CandidateName],
  against: string,
  goal: string,
  compare: (ours: number, theirs: number) => { readonly value: string; readonly isMet: boolean },
  ourRow = row,
): Goal {
  return {
    scenario,
    against,
    goal,
    measure(results) {
      const [ours, theirs] = [results.get(ourRow, 'soketi'), results.get(row, candidate)];
      return ours === undefined || theirs === undefined ? undefined : compare(ours, theirs);
    },
  };
}

const MAX_LATENCY_MICROS = 50;
const MAX_GROWTH = 1.4;
const MAX_HEAP_BYTES = 1024;

function grows(perTurn: number): Goal {
  return within(
    `10,000 connections, ${perTurn} per turn`,
    [`fan-out/1000/64/${perTurn}`, 'soketi'],
    'soketi at 1,000',
    `at most ${MAX_GROWTH} ×`,
    (ours, theirs) => ({ value: `${(ours / theirs).toFixed(2)} ×`, isMet: ours / theirs <= MAX_GROWTH }),
    `fan-out/10000/64/${perTurn}`,
  );
}

type Measured = { readonly value: string; readonly isMet: boolean };

/** The shared history of this library beside `ws`, which compresses for each socket. */
function ratio(
  results: Results,
  row: string,
  compare: (ours: number, theirs: number) => Measured,
): Measured | undefined {
  const [ours, theirs] = [results.get(row, 'soketi-history'), results.get(row, 'ws-loop')];
  return ours === undefined || theirs === undefined ? undefined : compare(ours, theirs);
}

const GOALS: readonly Goal[] = [
  times('64 B to 1,000, 1 per turn', 'fan-out/1000/64/1', 'ws-loop', 1.3),
  times('64 B to 1,000, 1 per turn', 'fan-out/1000/64/1', 'raw', 0.9),
  times('64 B to 1,000, 10 per turn', 'fan-out/1000/64/10', 'ws-loop', 9),
  times('64 B to 1,000, 10 per turn', 'fan-out/1000/64/10', 'crossws', 9),
  times('64 B to 1,000, 10 per turn', 'fan-out/1000/64/10', 'uws', 0.85),
  times('64 B to 1,000, 50 per turn', 'fan-out/1000/64/50', 'uws', 1),
  times('2 KiB JSON, deflate, no takeover', 'deflate/stateless/2048', 'ws-loop', 10),
  times('2 KiB JSON, deflate, no takeover', 'deflate/stateless/2048', 'uws', 2),
  times('16 KiB JSON, deflate, no takeover', 'deflate/stateless/16384', 'ws-loop', 25),
  times('16 KiB JSON, deflate, no takeover', 'deflate/stateless/16384', 'uws', 10),
  {
    scenario: '1 KiB JSON, context takeover, shared history: CPU',
    against: 'ws-loop',
    goal: '20 ×',
    measure: (results) =>
      ratio(results, 'deflate/takeover/1024', (ours, theirs) => {
        const better = theirs / ours;
        return { value: `${better.toFixed(2)} ×`, isMet: better >= 20 };
      }),
  },
  {
    scenario: '1 KiB JSON, context takeover, shared history: bytes',
    against: 'ws-loop',
    goal: 'at most 1.15 ×',
    measure: (results) =>
      ratio(results, 'deflate/takeover/1024/bytes', (ours, theirs) => {
        const more = ours / theirs;
        return { value: `${more.toFixed(2)} ×`, isMet: more <= 1.15 };
      }),
  },
  times('5 broadcasts + 1 private, last', 'mixed/last', 'ws-loop', 4.5),
  times('5 broadcasts + 1 private, last', 'mixed/last', 'uws', 1.5),
  times('5 broadcasts + 1 private, middle', 'mixed/middle', 'ws-loop', 4.5),
  times('5 broadcasts + 1 private, middle', 'mixed/middle', 'uws', 1.5),
  times('50 clients broadcast at once, p50', 'latency/burst/50', 'ws-loop', 10),
  within(
    'lone broadcast, p50',
    ['latency/lone', 'ws-loop'],
    'ws-loop',
    `within ${MAX_LATENCY_MICROS} µs`,
    (ours, theirs) => ({
      value: `${(ours - theirs).toFixed(0)} µs`,
      isMet: ours - theirs <= MAX_LATENCY_MICROS,
    }),
  ),
  grows(1),
  grows(10),
  within(
    'heap per idle connection',
    ['memory/heap-above-ws', 'ws-loop'],
    'bare ws',
    `under ${MAX_HEAP_BYTES} B`,
    (ours) => ({
      value: `${ours.toFixed(0)} B`,
      isMet: ours < MAX_HEAP_BYTES,
    }),
  ),
];

/** What was set out to be shown, as far as this run has measured it. */
export function goalTable(results: Results): Table | undefined {
  const rows = GOALS.flatMap(({ scenario, against, goal, measure }) => {
    const measured = measure(results);
    return measured === undefined
      ? []
      : [[scenario, against, goal, measured.value, measured.isMet ? 'yes' : 'NO']];
  });
  if (rows.length === 0) return undefined;
  return {
    title: 'Goals',
    notes: ['How many times less than the other candidate this library needs, where nothing else is said.'],
    columns: ['scenario', 'against', 'goal', 'measured', 'met'],
    rows,
  };
}
