import { readFileSync, writeFileSync } from 'node:fs';
import type { Table } from './results.js';

const START = '<!-- results -->';
const END = '<!-- /results -->';
const README = new URL('../README.md', import.meta.url);

/** Three significant digits, with a separator from 1,000 on. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 2 });
}

/** Median, and in brackets the least and the greatest. */
export function formatSpread(median: number, values: readonly number[]): string {
  return `${format(median)} (${format(Math.min(...values))}–${format(Math.max(...values))})`;
}

export function formatPercent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** A table in Markdown. */
export function markdown({ title, notes, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    line(columns),
    line(columns.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
  ];
  return [`### ${title}`, ...notes, table.join('\n')].join('\n\n');
}

/** Replaces what stands between the markers of the README. */
export function writeReadme(report: string): void {
  const readme = readFileSync(README, 'utf8');
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`The README lacks ${START} or ${END}`);
  writeFileSync(README, `${readme.slice(0, start + START.length)}\n\n${report}\n\n${readme.slice(end)}`);
}
