/*
 * Mutation testing by StrykerJS: `npm run mutation -w @soketi/checks [-- src/wire/frame.ts src/sending/slice.ts --with faults]`.
 *
 * Changes the source in small ways, one at a time, and runs the tests that reach the place: first those in memory, which
 * take a second per change, then, for the changes that these do not notice, those with sockets too. Prints the survivors
 * (changes that no test notices) and the score of each file. Works on a copy in a temporary folder. Stryker is installed
 * there and not in the workspace, to which it would add 167 packages (65 MB). The arguments are source files of the
 * library, or what Stryker's --mutate takes, such as `src/wire/frame.ts:20-31`; `--with` names a test that runs besides
 * the usual ones, and may be repeated. `--tests` runs only the tests whose path contains that piece, and may be repeated
 * too; `--unit` stops after the tests in memory: the score is then a lower bound. All files together take an hour or
 * more: name one or two. Every test must pass beforehand.
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

async function prepare(folder) {
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
  return run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder);
}

function vitestConfig({ with: added, tests }, unit) {
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

/** Tries every mutant of these places, or of all files without any, and returns what became of each. */
async function mutantsOf(folder, options, places, unit) {
  await writeFile(path.join(folder, 'vitest.config.mjs'), vitestConfig(options, unit));
  const mutate = places.length > 0 ? ['--mutate', places.join(',')] : [];
  const code = await run('npx', ['stryker', 'run', ...mutate], folder);
  if (code !== 0) throw new Error(`Stryker ended with code ${code}.`);
  const { files } = await readJson(path.join(folder, 'reports/mutation/mutation.json'));
  return Object.entries(files).flatMap(([file, { mutants }]) =>
    mutants.map((mutant) => ({ ...mutant, file })),
  );
}

const survived = ({ status }) => status === 'Survived' || status === 'NoCoverage';
const noticed = ({ status }) => status === 'Killed' || status === 'Timeout';

/** Where a mutant is, as --mutate takes it: columns count from 0 there, and from 1 in the report. */
const placeOf = ({ file, location: { start, end } }) =>
  `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`;

/** What no test noticed meets the tests with sockets in a second round. */
async function inTwoRounds(folder, options, places) {
  const mutants = await mutantsOf(folder, options, places, true);
  const survivors = mutants.filter(survived);
  if (options.unit || survivors.length === 0) return mutants;
  const again = await mutantsOf(folder, options, [...new Set(survivors.map(placeOf))], false);
  const keyOf = (mutant) => `${placeOf(mutant)} ${mutant.replacement}`;
  const noticedThen = new Set(again.filter(noticed).map(keyOf));
  return mutants.map((mutant) => (noticedThen.has(keyOf(mutant)) ? { ...mutant, status: 'Killed' } : mutant));
}

/** One line per survivor, and the score of each file. */
async function report(folder, mutants) {
  const tried = mutants.filter((mutant) => survived(mutant) || noticed(mutant));
  for (const file of new Set(tried.map((mutant) => mutant.file))) {
    const lines = (await readFile(path.join(folder, file), 'utf8')).split('\n');
    const ofFile = tried.filter((mutant) => mutant.file === file);
    const survivors = ofFile.filter(survived);
    for (const { location, replacement } of survivors) {
      const { start, end } = location;
      const source = lines[start.line - 1].slice(
        start.column - 1,
        start.line === end.line ? end.column - 1 : undefined,
      );
      console.log(
        `${file}:${start.line}:${start.column}  ${source}  ->  ${replacement.replaceAll(/\s+/g, ' ')}`,
      );
    }
    const count = ofFile.length - survivors.length;
    console.log(`${file}: ${((100 * count) / ofFile.length).toFixed(1)} % (${count} of ${ofFile.length})\n`);
  }
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
  const places = positionals.map((place) => place.replace('packages/connections/', ''));
  if ((await prepare(folder)) !== 0) throw new Error('Stryker could not be installed.');
  await report(folder, await inTwoRounds(folder, values, places));
} finally {
  await rm(folder, { recursive: true, force: true });
}
