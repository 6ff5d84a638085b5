import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const canPin = ((): boolean => {
  if (cpus().length < 2) return false;
  try {
    execFileSync('taskset', ['-c', '0,1', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Cores that server and clients are pinned to; `undefined` if pinning is not possible. */
export const SERVER_CORE = canPin ? 0 : undefined;
export const CLIENT_CORE = canPin ? 1 : undefined;
export const PINNING = canPin
  ? 'Server on core 0, clients on core 1'
  : 'NOT PINNED: taskset or a second core is missing';

/** How many files one process may open: the hard limit, to which child processes raise their own. */
export function maxOpenFiles(): number {
  const limit = execFileSync('/bin/sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
  return limit === 'unlimited' ? Infinity : Number(limit);
}

/** The monotonic clock that all processes of the machine share, in ms. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** CPU time that this process and its threads have taken so far, in ms. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

/** CPU time that another process and its threads have taken so far, in µs. Linux only. */
export function cpuMicrosOf(pid: number): number {
  let nanos = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    // Documentation/scheduler/sched-stats: the first field is the time spent on the CPU, in ns.
    nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
  }
  return nanos / 1e3;
}

export interface Memory {
  readonly heapBytes: number;
  readonly rssBytes: number;
}

/** So many collections that nothing more is freed: after two, finalizers still hold memory. */
const COLLECTIONS = 6;

/** Heap and resident set of this process after forced collections: needs `--expose-gc`. */
export async function memoryAtRest(): Promise<Memory> {
  for (let times = 0; times < COLLECTIONS; times++) {
    globalThis.gc?.();
    await delay(50);
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapBytes: heapUsed, rssBytes: rss };
}

/** Name and version of the package that a module belongs to; not every package exports its package.json. */
function packageOf(module: string): string {
  for (let folder = new URL('.', module), inner = ''; folder.href !== inner; folder = new URL('..', folder)) {
    inner = folder.href;
    const file = new URL('package.json', folder);
    if (existsSync(file)) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (name !== undefined && version !== undefined) return `${name} ${version}`;
    }
  }
  return `${module} (unknown version)`;
}

/**
 * Date, command, machine and versions: without them no figure means anything.
 *
 * @param script as `npm run` takes it; the arguments of this process follow it
 * @param modules URLs of files of the packages whose versions are reported
 */
export function describeRun(script: string, modules: readonly string[]): string[] {
  const args = process.argv.slice(2);
  return [
    `Date: ${new Date().toISOString()}`,
    `Command: \`${[`npm run ${script}`, ...(args.length > 0 ? ['--', ...args] : [])].join(' ')}\``,
    `Machine: ${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
      `Linux ${release()}, Node.js ${process.versions.node}`,
    `Versions: ${[...new Set(modules.map(packageOf))].join(', ')}`,
  ];
}
