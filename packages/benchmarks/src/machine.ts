import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CANDIDATES, type CandidateName } from './candidates/index.js';

const canPin = ((): boolean => {
  if (cpus().length < 2) return false;
  try {
    execFileSync('taskset', ['-c', '0,1', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Cores that the two processes are pinned to; `undefined` where that is not possible. */
export const SERVER_CORE = canPin ? 0 : undefined;
export const CLIENT_CORE = canPin ? 1 : undefined;

/** Above this other work disturbs the measurement. */
const QUIET_LOAD = 0.5;

/** Connections that two processes of that many descriptors can hold. */
export function assertDescriptors(connections: number): void {
  const limit = execFileSync('/bin/sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
  if (limit !== 'unlimited' && Number(limit) < connections + 100) {
    throw new Error(
      `${connections} connections need a limit of file descriptors above ${limit} (ulimit -Hn)`,
    );
  }
}

/** Name and version of an installed package by its own word; not every package exports its package.json. */
function packageOf(module: string): string {
  let folder = dirname(isAbsolute(module) ? module : fileURLToPath(import.meta.resolve(module)));
  for (;;) {
    const file = join(folder, 'package.json');
    if (existsSync(file)) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (name !== undefined && version !== undefined) return `${name} ${version}`;
    }
    if (folder === dirname(folder)) return `${module} (unknown version)`;
    folder = dirname(folder);
  }
}

/** Machine, versions, command and date: without them no figure means anything. */
export function describeRun(names: readonly CandidateName[], args: readonly string[]): string[] {
  const modules = new Set(names.map((name) => CANDIDATES[name].module));
  const versions = [...modules].map(packageOf);
  const [load = 0] = loadavg();
  return [
    `Date: ${new Date().toISOString()}`,
    `Command: \`${['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' ')}\``,
    `Machine: ${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
      `Linux ${release()}, Node.js ${process.versions.node}`,
    `Versions: ${versions.join(', ')}`,
    canPin ? 'Server on core 0, clients on core 1' : 'NOT PINNED: taskset or a second core is missing',
    `Load before the run: ${load.toFixed(2)}${load > QUIET_LOAD ? ' (NOT QUIET: something else is running)' : ''}`,
  ];
}
