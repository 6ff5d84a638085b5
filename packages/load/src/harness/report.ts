import { median } from './statistics.js';

/** A table as it is printed. */
export interface Table {
  readonly title: string;
  readonly notes: readonly string[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Three significant digits, with a separator from 1,000 on. */
function format(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 2 });
}

/** The median, followed by the lowest and the highest in brackets if they differ. */
export function formatSpread(values: readonly number[]): string {
  const [low, high] = [format(Math.min(...values)), format(Math.max(...values))];
  return format(median(values)) + (low === high ? '' : ` (${low}–${high})`);
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
