/*
 * Mutation testing by StrykerJS: `npm run mutation -w @soketi/connections [-- src/frame.ts,src/batch.ts]`.
 *
 * Changes the source in small ways, one at a time, and runs the tests that reach the place: a change that no test
 * notices is printed as a survivor. Works on a copy in a temporary folder. Stryker is installed there and not in the
 * workspace, to which it would add 167 packages (65 MB). What is mutated is said in stryker.config.json;
 * the arguments are handed on to Stryker's --mutate. All of it takes long: name a file
 * or two. Every test must pass beforehand.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The last that runs on Node 20. */
const STRYKER_VERSION = '9.6.1';

/** Tests of the built package, of other versions of `ws` and of types, and those that take long by their nature. */
const LEFT_OUT = ['package', 'ws-versions', 'types', 'garbage', 'faults', 'graceful-shutdown'];

const readJson = async (file) => JSON.parse(await readFile(file, 'utf8'));

async function run(command, args, cwd) {
  const [code] = await once(spawn(command, args, { cwd, stdio: 'inherit' }), 'exit');
  return code ?? 1;
}

async function prepare(folder) {
  for (const name of ['src', 'test', 'stryker.config.json']) {
    await cp(path.join(PACKAGE, name), path.join(folder, name), { recursive: true });
  }
  const { devDependencies: ofRoot } = await readJson(path.join(ROOT, 'package.json'));
  const { name, devDependencies } = await readJson(path.join(PACKAGE, 'package.json'));
  const manifest = {
    name,
    private: true,
    type: 'module',
    dependencies: {
      ...devDependencies,
      vitest: ofRoot.vitest,
      '@stryker-mutator/core': STRYKER_VERSION,
      '@stryker-mutator/vitest-runner': STRYKER_VERSION,
    },
  };
  await writeFile(path.join(folder, 'package.json'), JSON.stringify(manifest));
  const exclude = LEFT_OUT.map((test) => `test/${test}.test.ts`);
  const config = { test: { include: ['test/**/*.test.ts'], exclude, maxWorkers: 1 } };
  await writeFile(path.join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)};\n`);
  return run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder);
}

// Ctrl-C ends the programs that run here; what they leave is removed all the same.
process.on('SIGINT', () => (process.exitCode = 130));
const folder = await mkdtemp(path.join(tmpdir(), 'connections-mutation-'));
try {
  const [only] = process.argv.slice(2);
  const args = ['stryker', 'run', ...(only === undefined ? [] : ['--mutate', only])];
  process.exitCode = (await prepare(folder)) || (await run('npx', args, folder));
} finally {
  await rm(folder, { recursive: true, force: true });
}
