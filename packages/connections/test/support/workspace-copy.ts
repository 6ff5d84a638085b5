import { execFile } from 'node:child_process';
import { cp, mkdtemp, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** What a build makes or does not need, and the tests, so that a copy is typechecked in a moment. */
const NOT_COPIED = new Set(['.git', '.nx', 'node_modules', 'dist', 'out-tsc', 'coverage', 'test']);

/**
 * A copy of the workspace in a temporary folder, without its builds and its tests: for everything that would disturb
 * tests that run meanwhile, such as a pack, which builds again, or a deliberate error. The caller removes it.
 */
export async function copyWorkspace(): Promise<string> {
  const copy = await mkdtemp(path.join(tmpdir(), 'connections-workspace-'));
  await cp(ROOT, copy, { recursive: true, filter: (file) => !NOT_COPIED.has(path.basename(file)) });
  // A junction is a link that every user may make on Windows.
  await symlink(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'), 'junction');
  return copy;
}

/**
 * The environment without the variables that the running npm and Nx set for their scripts, such as to print in colours.
 */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|nx_|FORCE_COLOR$)/i.test(name)),
);

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** Resolves with the output of the command. If the command fails, rejects with all of it. */
export async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Output> {
  // Only a shell finds `npm` on Windows, where it is a script.
  const shell = process.platform === 'win32' && command === 'npm';
  try {
    return await promisify(execFile)(command, args, { cwd, shell, env: { ...ENVIRONMENT, ...env } });
  } catch (error) {
    const { stdout, stderr } = error as Output;
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}
