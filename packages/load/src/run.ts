import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describeRun, OtherLoad, PINNING } from './harness/index.js';

/** A claim that is to be shown, and the result of this run. */
export interface Claim {
  readonly text: string;
  readonly measured: string;
  readonly isMet: boolean;
}

/** A whole number with separators. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function claim(text: string, measured: string | number, isMet: boolean): Claim {
  return { text, measured: typeof measured === 'number' ? count(measured) : measured, isMet };
}

/** Ends everything when a run exceeds its maximum time: the children end with the channel to this process. */
export function limitTime(maxMs: number): void {
  setTimeout(() => {
    console.error(`Not done after ${count(maxMs / 1000)} s`);
    process.exit(1);
  }, maxMs).unref();
}

/** How often the event loop is checked, in ms. */
const STALL_RESOLUTION_MS = 10;

/** The longest delay of the event loop of this process, in ms. */
export function watchStalls(): { restart(): void; maxMs(): number } {
  const histogram = monitorEventLoopDelay({ resolution: STALL_RESOLUTION_MS });
  histogram.enable();
  return { restart: () => histogram.reset(), maxMs: () => histogram.max / 1e6 - STALL_RESOLUTION_MS };
}

/**
 * A positive integer from the command line.
 *
 * @throws {Error} it is anything else
 */
export function positive(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be a positive integer, got ${text}`);
}

/** Machine, versions, command and date. @param isPinned server and clients have a core each */
function describe(script: string, { isPinned }: ScriptOptions): void {
  const modules = ['@soketi/connections', 'ws'].map((name) => import.meta.resolve(name));
  const lines = [...describeRun(`${script} -w @soketi/load`, modules), ...(isPinned ? [PINNING] : [])];
  console.log(`${lines.map((line) => `- ${line}`).join('\n')}\n`);
}

/** Prints the claims; one that is not met makes the exit status 1. */
function conclude(claims: readonly Claim[]): void {
  console.log('\n| claim | measured | |\n| --- | --- | --- |');
  for (const { text, measured, isMet } of claims) {
    console.log(`| ${text} | ${measured} | ${isMet ? 'holds' : '**does not hold**'} |`);
  }
  if (claims.some(({ isMet }) => !isMet)) process.exitCode = 1;
}

export interface ScriptOptions {
  /** Server and clients have a core each. */
  readonly isPinned: boolean;
}

/** Runs a script, and prints its claims with what it has measured. */
export async function main(
  script: string,
  options: ScriptOptions,
  run: () => Promise<readonly Claim[]>,
): Promise<void> {
  try {
    describe(script, options);
    const otherLoad = await OtherLoad.watch();
    conclude(await run());
    console.log(`\n${String(otherLoad)}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
