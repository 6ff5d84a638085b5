/*
 * Mutation testing by StrykerJS: `npm run mutation -w @soketi/checks [-- src/wire/frame.ts src/sending/slice.ts --with faults]`.
 *
 * Changes the source in small ways, one at a time, and runs the tests that reach the place: a change that no test
 * notices is printed as a survivor. Works on a copy in a temporary folder. Stryker is installed there and not in the
 * workspace, to which it would add 167 packages (65 MB). The arguments are source files of the library, or what
 * Stryker's --mutate takes; `--with` names a test that runs besides the usual ones, and may be repeated. `--tests` runs
 * only the tests whose path contains that piece, and may be repeated too; `--unit` runs only those without sockets: the
 * score is then a lower bound, and comes in minutes. A survivor can be tried again with all tests by its place, as in
 * `src/wire/frame.ts:20:5-20:31`. All of it takes an hour or more: name a file or two. Every test must pass beforehand.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const PACKAGE = fileURLToPath(new URL('../connections', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STRYKER_CONFIG = fileURLToPath(new URL('stryker.config.json', import.meta.url));

/** The last that runs on Node 20. */
const STRYKER_VERSION = '9.6.1';

/** Tests that are slow by nature, and those of types, which see no mutant: parts of their paths. */
const LEFT_OUT = [
  'interfaces',
  'garbage',
  'faults',
  'graceful-shutdown',
  'random',
  'membership-model',
  'history-model',
  'fan-out-order',
];

const readJson = async (file) => JSON.parse(await readFile(file, 'utf8'));

async function run(command, args, cwd) {
  const [code] = await once(spawn(command, args, { cwd, stdio: 'inherit' }), 'exit');
  return code ?? 1;
}

async function prepare(folder, options) {
  for (const name of ['src', 'test']) {
    await cp(path.join(PACKAGE, name), path.join(folder, name), { recursive: true });
  }
  await cp(STRYKER_CONFIG, path.join(folder, path.basename(STRYKER_CONFIG)));
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
  await writeFile(path.join(folder, 'vitest.config.mjs'), vitestConfig(options));
  return run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder);
}

function vitestConfig({ with: added, tests, unit }) {
  const leftOut = LEFT_OUT.filter((name) => !added.includes(name)).map((name) => `test/**/*${name}*.test.ts`);
  const named = added.length > 0 ? `!(*${added.join('*|*')}*)` : '*';
  // Those of the whole package see no mutant.
  const exclude = [...leftOut, `test/**/${named}.long.test.ts`, 'test/**/*.whole.test.ts'];
  if (unit) exclude.push('test/**/*.loopback.test.ts');
  const include = tests.flatMap((piece) => [`test/**/*${piece}*.test.ts`, `test/**/${piece}/**/*.test.ts`]);
  return `
    import { BaseSequencer } from 'vitest/node';
    // The first test that fails is the last that runs: those in memory come before those with sockets.
    const rank = ({ moduleId }) => Number(moduleId.endsWith('.loopback.test.ts'));
    class QuickFirst extends BaseSequencer {
      sort(files) {
        return files.sort((one, other) => rank(one) - rank(other));
      }
    }
    export default {
      test: {
        include: ${JSON.stringify(include.length > 0 ? include : ['test/**/*.test.ts'])},
        exclude: ${JSON.stringify(exclude)},
        setupFiles: ['test/support/${unit ? 'each-unit-test' : 'each-test'}.ts'],
        // To import the sources again for each file takes longer than the tests.
        pool: 'threads',
        isolate: false,
        maxWorkers: 1,
        // A mutant may leave every test waiting.
        testTimeout: ${unit ? 2_000 : 20_000},
        sequence: { sequencer: QuickFirst },
      },
    };
  `;
}

// Ctrl-C also ends the child programs; their files are removed all the same.
process.on('SIGINT', () => (process.exitCode = 130));
const folder = await mkdtemp(path.join(tmpdir(), 'connections-mutation-'));
try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      with: { type: 'string', multiple: true, default: [] },
      tests: { type: 'string', multiple: true, default: [] },
      unit: { type: 'boolean', default: false },
    },
  });
  // The paths of the files may also start at the root of the repository.
  const files = positionals.join(',').replaceAll('packages/connections/', '');
  const args = ['stryker', 'run', ...(files === '' ? [] : ['--mutate', files])];
  process.exitCode = (await prepare(folder, values)) || (await run('npx', args, folder));
} finally {
  await rm(folder, { recursive: true, force: true });
}
