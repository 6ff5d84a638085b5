import { formatPercent, formatSpread, median, percentile, type Table } from '@soketi/load/harness';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Measure, Sample } from './fleet.js';

const README = new URL('../README.md', import.meta.url);

/** Above this the clients may hold up the server. */
const BUSY_CLIENT = 0.8;

interface Metric {
  readonly unit: string;
  /** The summary of one candidate's rounds: a table shows the median, the lowest and the highest. */
  readonly valuesOf: (rounds: readonly Sample[]) => number[];
}

const all = (measure: Measure, rounds: readonly Sample[]): number[] =>
  rounds.flatMap((round) => round[measure] ?? []);
const each = (unit: string, measure: Measure): Metric => ({
  unit,
  valuesOf: (rounds) => all(measure, rounds),
});

export const METRICS = {
  cpu: each('ns of server CPU per message', 'cpuNanosPerMessage'),
  bytes: each('bytes on the wire per message', 'bytesPerMessage'),
  p50: {
    unit: 'µs until the last client has it, p50',
    valuesOf: (rounds) => rounds.map((round) => percentile(all('latencyMicros', [round]), 0.5)),
  },
  p99: {
    unit: 'µs until the last client has it, p99 of all rounds',
    valuesOf: (rounds) => [percentile(all('latencyMicros', rounds), 0.99)],
  },
  heap: each('bytes of heap per connection', 'heapBytes'),
  rss: each('bytes of RSS per connection', 'rssBytes'),
  nanos: each('ns per operation', 'nanosPerOperation'),
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** The results of a row. */
export interface Result {
  readonly title: string;
  readonly metrics: readonly MetricName[];
  /** The name by which the goals find it. */
  readonly key: string;
  readonly label: string;
  /** By candidate. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

/** A table for each title and metric. */
export function tablesOf(results: readonly Result[]): Table[] {
  const titles = [...new Set(results.map(({ title }) => title))];
  return titles.flatMap((title) => {
    const ofTitle = results.filter((result) => result.title === title);
    const names = [...new Set(ofTitle.flatMap(({ samples }) => [...samples.keys()]))];
    return [...new Set(ofTitle.flatMap(({ metrics }) => metrics))].map((metric) => ({
      title,
      notes: [],
      columns: [METRICS[metric].unit, ...names, 'clients'],
      rows: ofTitle.map((result) => [
        result.label,
        ...names.map((name) => cell(result, metric, name)),
        clients(result),
      ]),
    }));
  });
}

function cell({ samples }: Result, metric: MetricName, name: string): string {
  const rounds = samples.get(name);
  if (rounds === undefined) return '-';
  return formatSpread(METRICS[metric].valuesOf(rounds)) + (clientLoad(rounds) > BUSY_CLIENT ? ' \\*' : '');
}

const clientLoad = (rounds: readonly Sample[]): number => median(all('clientLoad', rounds));

function clients({ samples }: Result): string {
  const loads = [...samples.values()].map(clientLoad).filter(Number.isFinite);
  return loads.length === 0
    ? '-'
    : `${formatPercent(Math.min(...loads))}–${formatPercent(Math.max(...loads))}`;
}

/** Replaces the text between the markers of a name in the README. */
export function writeReadme(report: string, name = 'results'): void {
  const [opening, closing] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const readme = readFileSync(README, 'utf8');
  const [start, end] = [readme.indexOf(opening), readme.indexOf(closing)];
  if (start < 0 || end < start) throw new Error(`The README lacks ${opening} or ${closing}`);
  writeFileSync(README, `${readme.slice(0, start + opening.length)}\n\n${report}\n\n${readme.slice(end)}`);
}
