/** A line of the chart. */
export interface Series {
  readonly name: string;
  readonly color: string;
  readonly points: readonly { readonly atMs: number; readonly count: number }[];
}

/** The texts around the lines of the chart. */
export interface Labels {
  readonly title: string;
  readonly time: string;
  readonly limit: number;
  readonly limitText: string;
}

const WIDTH = 760;
const HEIGHT = 340;
const PLOT = { left: 64, right: 736, top: 56, bottom: 288 };
/** Of medium lightness, so that it can be read on white and on black. */
const INK = '#808890';
const FONT = 'font-family="system-ui, sans-serif" font-size="12"';
const Y_STEP = 500;
const X_STEP_MS = 1_000;

/** A line chart of counts over time, as SVG without a background. */
export function lineChart({ title, time, limit, limitText }: Labels, series: readonly Series[]): string {
  const points = series.flatMap((line) => line.points);
  const maxMs = Math.max(...points.map(({ atMs }) => atMs));
  const top = Math.ceil(Math.max(limit, ...points.map(({ count }) => count)) / Y_STEP) * Y_STEP;
  const x = (atMs: number): number => PLOT.left + (atMs / maxMs) * (PLOT.right - PLOT.left);
  const y = (count: number): number => PLOT.bottom - (count / top) * (PLOT.bottom - PLOT.top);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">`,
    `<g ${FONT} fill="${INK}">`,
    text(PLOT.left, 22, title, 'font-weight="600" font-size="14"'),
    ...ticks(top, Y_STEP).map((count) => row(y(count), count.toLocaleString('en-US'))),
    ...ticks(maxMs, X_STEP_MS).map((atMs) => text(x(atMs), PLOT.bottom + 18, `${atMs / 1000} s`, MIDDLE)),
    text((PLOT.left + PLOT.right) / 2, HEIGHT - 10, time, MIDDLE),
    `<path d="M${PLOT.left} ${fixed(y(limit))}H${PLOT.right}" stroke="${INK}" stroke-dasharray="5 4"/>`,
    text(PLOT.right, y(limit) - 6, limitText, 'text-anchor="end"'),
    ...series.map((line, index) => legend(line, index)),
    '</g>',
    ...series.map((line) => path(line, x, y)),
    '</svg>',
    '',
  ].join('\n');
}

const MIDDLE = 'text-anchor="middle"';

const fixed = (value: number): string => value.toFixed(1);

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${content}</text>`;
}

function row(y: number, label: string): string {
  const line = `<path d="M${PLOT.left} ${fixed(y)}H${PLOT.right}" stroke="${INK}" stroke-opacity="0.25"/>`;
  return line + text(PLOT.left - 8, y + 4, label, 'text-anchor="end"');
}

function legend({ name, color }: Series, index: number): string {
  const x = PLOT.left + index * 330;
  return `<path d="M${x} 39h22" stroke="${color}" stroke-width="3"/>${text(x + 30, 43, name)}`;
}

function path({ color, points }: Series, x: (atMs: number) => number, y: (count: number) => number): string {
  const d = points.map(
    ({ atMs, count }, index) => `${index ? 'L' : 'M'}${fixed(x(atMs))} ${fixed(y(count))}`,
  );
  return `<path d="${d.join('')}" fill="none" stroke="${color}" stroke-width="2" stroke-linejoin="round"/>`;
}

function ticks(max: number, step: number): number[] {
  return Array.from({ length: Math.floor(max / step) + 1 }, (_, index) => index * step);
}
