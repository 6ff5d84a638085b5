import { median, type Table } from '@soketi/load/harness';
import { METRICS, type MetricName, type Result } from './report.js';

/** How this library's figure may compare with another one. */
export interface Limit {
  readonly text: string;
  readonly compare: (ours: number, theirs: number) => number;
  readonly isMet: (measured: number) => boolean;
  readonly show: (measured: number) => string;
  /** Our candidate, if it is not plain `soketi`. */
  readonly ours?: string;
  /** The row of the other candidate, if it has another name. */
  readonly theirRow?: string;
}

const showTimes = (measured: number): string => `${measured.toFixed(2)} ×`;

export const timesLess = (limit: number, rest: Partial<Limit> = {}): Limit => {
  const compare = (ours: number, theirs: number): number => theirs / ours;
  return { text: `${limit} ×`, compare, isMet: (measured) => measured >= limit, show: showTimes, ...rest };
};
export const atMost = (limit: number, rest: Partial<Limit> = {}): Limit => {
  const compare = (ours: number, theirs: number): number => ours / theirs;
  return {
    text: `at most ${limit} ×`,
    compare,
    isMet: (measured) => measured <= limit,
    show: showTimes,
    ...rest,
  };
};
export const atMostMore = (limit: number, unit: string): Limit => {
  const show = (measured: number): string => `${measured.toFixed(0)} ${unit}`;
  const compare = (ours: number, theirs: number): number => ours - theirs;
  return { text: `at most ${limit} ${unit} more`, compare, isMet: (measured) => measured <= limit, show };
};

const HISTORY = { ours: 'soketi-history' };

/** The goals: by metric, row, and the candidate to compare with. */
const GOALS: Readonly<
  Partial<Record<MetricName, Readonly<Record<string, Readonly<Record<string, Limit>>>>>>
> = {
  cpu: {
    'fan-out/1000/64/1': { 'ws-loop': timesLess(1.3), raw: timesLess(0.9) },
    'fan-out/1000/64/10': { 'ws-loop': timesLess(9), crossws: timesLess(9), uws: timesLess(0.85) },
    'fan-out/1000/64/50': { uws: timesLess(1) },
    'fan-out/10000/64/1': { soketi: atMost(1.4, { theirRow: 'fan-out/1000/64/1' }) },
    'fan-out/10000/64/10': { soketi: atMost(1.4, { theirRow: 'fan-out/1000/64/10' }) },
    'deflate/stateless/2048': { 'ws-loop': timesLess(10), uws: timesLess(2) },
    'deflate/stateless/16384': { 'ws-loop': timesLess(25), uws: timesLess(10) },
    'deflate/takeover/1024': { 'ws-loop': timesLess(20, HISTORY) },
    'mixed/last': { 'ws-loop': timesLess(4.5), uws: timesLess(1.5) },
    'mixed/middle': { 'ws-loop': timesLess(4.5), uws: timesLess(1.5) },
    'rooms/all/1': { soketi: timesLess(0.9, { theirRow: 'rooms/namespace/1' }) },
    'rooms/all/10': { soketi: timesLess(0.9, { theirRow: 'rooms/namespace/10' }) },
    'rooms/tens': { crossws: timesLess(8), 'socket.io': timesLess(8), uws: timesLess(1) },
    'rooms/many': { crossws: timesLess(5), 'socket.io': timesLess(5) },
    'receiving/inbound': { 'ws-loop': atMost(1.15) },
  },
  bytes: { 'deflate/takeover/1024': { 'ws-loop': atMost(1.15, HISTORY) } },
  p50: {
    'latency/lone': { 'ws-loop': atMostMore(50, 'µs') },
    'latency/burst/50': { 'ws-loop': timesLess(10) },
  },
  heap: { 'memory/idle': { 'ws-loop': atMostMore(1024, 'B') } },
};

/** The goals that these results can decide. */
export function goalTable(results: readonly Result[]): Table[] {
  const figure = (metric: MetricName, row: string, candidate: string): number => {
    const samples = results.find(({ key }) => key === row)?.samples.get(candidate);
    return samples ? median(METRICS[metric].valuesOf(samples)) : NaN;
  };
  const rows = results.flatMap(({ title, label, key, metrics }) =>
    metrics.flatMap((metric) =>
      Object.entries(GOALS[metric]?.[key] ?? {}).flatMap(([against, limit]) => {
        const { ours = 'soketi', theirRow = key, text, compare, isMet, show } = limit;
        const measured = compare(figure(metric, key, ours), figure(metric, theirRow, against));
        if (Number.isNaN(measured)) return [];
        const scenario = `${title}: ${label}`;
        const other = theirRow === key ? against : `${against}, ${theirRow}`;
        return [
          [scenario, METRICS[metric].unit, ours, other, text, show(measured), isMet(measured) ? 'yes' : 'NO'],
        ];
      }),
    ),
  );
  const columns = ['scenario', 'unit', 'candidate', 'against', 'goal', 'measured', 'met'];
  const notes = [
    'How many times less than the other candidate this library needs, where nothing else is said.',
  ];
  return rows.length === 0 ? [] : [{ title: 'Goals', notes, columns, rows }];
}
