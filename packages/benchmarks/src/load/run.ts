import { loadavg } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describeRun } from '../machine.js';

/** Milliseconds of the monotonic clock that all processes of the machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Something that was set out to be shown, and what this run has shown. */
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

/** Prints the claims; one that does not hold makes the exit status 1. */
export function conclude(claims: readonly Claim[]): void {
  console.log('\n| claim | measured | |\n| --- | --- | --- |');
  for (const { text, measured, isMet } of claims) {
    console.log(`| ${text} | ${measured} | ${isMet ? 'holds' : '**does not hold**'} |`);
  }
  console.log(`\nLoad behind the run, its own share included: ${(loadavg()[0] ?? 0).toFixed(2)}`);
  if (claims.some(({ isMet }) => !isMet)) process.exitCode = 1;
}

/** Machine, versions, command and date. @param isPinned server and clients have a core each */
export function describe(script: string, { isPinned }: { isPinned: boolean }): void {
  const args = process.argv.slice(2);
  const command = [`npm run ${script} -w @soketi/benchmarks`, ...(args.length > 0 ? ['--', ...args] : [])];
  for (const line of describeRun(['soketi', 'ws-loop'], [])) {
    if (line.startsWith('Command:')) console.log(`- Command: \`${command.join(' ')}\``);
    else if (isPinned || !line.startsWith('Server on')) console.log(`- ${line}`);
  }
  console.log();
}

/** Ends everything when a run takes longer than it can: the children end with the channel to this process. */
export function limitTime(maxMs: number): void {
  setTimeout(() => {
    console.error(`Not done after ${count(maxMs / 1000)} s`);
    process.exit(1);
  }, maxMs).unref();
}

/** How often a watched event loop is looked at, in ms. */
const STALL_RESOLUTION_MS = 10;

/** The longest that the event loop of this process has been held up, in ms. */
export function watchStalls(): { restart(): void; maxMs(): number } {
  const histogram = monitorEventLoopDelay({ resolution: STALL_RESOLUTION_MS });
  histogram.enable();
  return { restart: () => histogram.reset(), maxMs: () => histogram.max / 1e6 - STALL_RESOLUTION_MS };
}

interface Stoppable {
  stop(): Promise<void>;
}

/** Runs `use` and ends the processes it has started, in the order of their start, whatever happens. */
export async function withProcesses<T>(
  use: (started: <P extends Stoppable>(process: P) => P) => Promise<T>,
): Promise<T> {
  const processes: Stoppable[] = [];
  try {
    return await use((process) => {
      processes.push(process);
      return process;
    });
  } finally {
    for (const process of processes) await process.stop();
  }
}

/** The value of `read` once it is the wanted one, or what it is after `maxMs`. */
export async function settled<T>(read: () => T | Promise<T>, wanted: T, maxMs: number): Promise<T> {
  const untilMs = nowMs() + maxMs;
  for (;;) {
    const value = await read();
    if (value === wanted || nowMs() >= untilMs) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * A positive integer from the command line.
 *
 * @throws {Error} it is no such number
 */
export function positive(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be a positive integer, got ${text}`);
}

/** The main function of a script. */
export async function main(run: () => Promise<readonly Claim[]>): Promise<void> {
  try {
    conclude(await run());
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
