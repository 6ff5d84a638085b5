import { mkdirSync, writeFileSync } from 'node:fs';
import { limitTime, main, type Claim } from '../run.js';
import type { ClientsReport, Way } from './calls.js';
import { lineChart, type Labels } from './chart.js';
import { perSecondOverTime } from './sliding-window.js';

/** How long all clients may take to be back, in ms. */
export const MAX_BACK_MS = 30_000;
const MAX_RUN_MS = 150_000;
const STEP_MS = 50;
/** A second after the last reconnect the rate is 0 again. */
const TAIL_MS = 1_100;
const BLUE = '#2f81f7';
const ORANGE = '#d9822b';

/** The reconnects of one deploy. */
export interface Reconnects {
  readonly name: string;
  /** When the first node was told to stop, in ms. */
  readonly stopAtMs: number;
  /** When each client was accepted again, in ms. */
  readonly acceptedAtMs: readonly number[];
}

/** Two deploys: one whose claims are checked, and one that it is compared with. */
export interface Comparison<Deploy> {
  /** What each of them is called in the output. */
  readonly ways: readonly [readonly [name: string, way: Way], readonly [name: string, way: Way]];
  readonly deploy: (way: Way) => Promise<Deploy>;
  readonly print: (name: string, deploy: Deploy) => void;
  readonly draw: (checked: Deploy, other: Deploy) => void;
  readonly judge: (checked: Deploy, other: Deploy) => readonly Claim[];
}

/** Runs a script that compares two deploys. */
export function compare<Deploy>(script: string, comparison: Comparison<Deploy>): Promise<void> {
  const run = async ([name, way]: readonly [string, Way]): Promise<Deploy> => {
    const deploy = await comparison.deploy(way);
    comparison.print(name, deploy);
    return deploy;
  };
  return main(script, { isPinned: false }, async () => {
    limitTime(MAX_RUN_MS);
    const [checked, other] = [await run(comparison.ways[0]), await run(comparison.ways[1])];
    comparison.draw(checked, other);
    return comparison.judge(checked, other);
  });
}

/** Draws how many clients were accepted within the last second, over time. @param file its name in `docs` */
export function drawReconnects(
  file: string,
  labels: Labels,
  deploys: readonly [Reconnects, Reconnects],
): void {
  const durationsMs = deploys.map(({ stopAtMs, acceptedAtMs }) => latest(acceptedAtMs, stopAtMs) - stopAtMs);
  const durationMs = Math.max(...durationsMs) + TAIL_MS;
  const series = deploys.map(({ name, stopAtMs, acceptedAtMs }, index) => ({
    name,
    color: index === 0 ? BLUE : ORANGE,
    points: perSecondOverTime(acceptedAtMs, {
      fromMs: stopAtMs,
      toMs: stopAtMs + durationMs,
      stepMs: STEP_MS,
    }),
  }));
  const folder = new URL('../../docs/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(file, folder), lineChart(labels, series));
}

/** The latest of the times; `fallbackMs` for an empty list. */
export function latest(timesMs: readonly number[], fallbackMs = 0): number {
  return timesMs.reduce((a, b) => Math.max(a, b), fallbackMs);
}

/** How many reconnects have failed. */
export function failuresOf({ failures }: ClientsReport): number {
  return Object.values(failures).reduce((sum, times) => sum + times, 0);
}

/** Whether that many clients were closed with 1012, and no client with another code. */
export function areAllTold({ codes }: ClientsReport, clients: number): boolean {
  return codes['1012'] === clients && Object.keys(codes).length === 1;
}
