import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig, type Plugin, type TestUserConfig } from 'vitest/config';

// Vitest 4 does not look for a file of this name: every script passes it with `--config`.
const TESTS = '**/test/**/*.test.ts';
const LOOPBACK = '**/test/**/*.loopback.test.ts';
const WHOLE = '**/test/**/*.whole.test.ts';
const LONG = '**/test/**/*.long.test.ts';

const setupFile = (name: string): string =>
  fileURLToPath(new URL(`packages/connections/test/support/${name}.ts`, import.meta.url));

/** The tests of the package in whose folder Vitest is started, or of all packages if that is the root. */
const project = (name: string, include: string, options: TestUserConfig = {}) => ({
  extends: true as const,
  test: { name, dir: process.cwd(), include: [include], setupFiles: [setupFile('each-test')], ...options },
});

/** Sockets in memory and a fake clock. `each-unit-test.ts` sees to it that no test leaves anything to the next one. */
const IN_MEMORY: TestUserConfig = {
  pool: 'threads',
  isolate: false,
  maxWorkers: Math.min(availableParallelism(), 4),
  setupFiles: [setupFile('each-unit-test')],
};

/** Those that wait for sockets and programs run after the others, which would take the cores from them. */
const REST: TestUserConfig = { sequence: { groupOrder: 2 } };

// .ci/run counts the tests from this report.
const { CI, VITEST_JSON_FILE } = process.env;

/** The cache of compiled modules is keyed by their sources. They are compiled as this file says. */
const compilerOptions = readFileSync(new URL('tsconfig.base.json', import.meta.url), 'utf8');
const keyedByCompilerOptions: Plugin = {
  name: 'keyed-by-compiler-options',
  configureVitest({ experimental_defineCacheKeyGenerator: addToKey }) {
    addToKey(() => compilerOptions);
  },
};

// Files of `unit` and of `loopback` share their modules: to import the sources again for each file takes longer than the
// tests.
export default defineConfig({
  plugins: [keyedByCompilerOptions],
  test: {
    // Compiling takes a third of the time of `unit`: after an edit only the edited files are compiled again.
    experimental: { fsModuleCache: !CI },
    projects: [
      // What one runs while editing.
      project('unit', TESTS, {
        ...IN_MEMORY,
        exclude: [...configDefaults.exclude, LONG, LOOPBACK, WHOLE],
        sequence: { groupOrder: 0 },
      }),
      // Random models, simulations of many nodes, and whatever else takes too long for that.
      project('long', LONG, { ...IN_MEMORY, sequence: { groupOrder: 1 } }),
      // Real sockets on 127.0.0.1.
      // Their waits may overlap more than those of programs, but in CI, where coverage and random tests take the cores.
      project('loopback', LOOPBACK, { ...REST, isolate: false, maxWorkers: CI ? 6 : 8 }),
      // The packed package, versions of ws, programs in processes of their own.
      project('whole', WHOLE, REST),
    ],
    // Most of the time goes by in waiting for sockets and timers, not for a core.
    maxWorkers: 6,
    // The same goes for tests of one file that run beside each other.
    maxConcurrency: 20,
    // Coverage, and whatever else runs on the machine, may slow them down; none is meant to take a second.
    testTimeout: 20_000,
    // The same goes for what they poll.
    expect: { poll: { timeout: 10_000, interval: 10 } },
    reporters: VITEST_JSON_FILE ? ['default', ['json', { outputFile: VITEST_JSON_FILE }]] : ['default'],
    coverage: {
      provider: 'v8',
      include: ['packages/connections/src/**'],
      reporter: ['text'],
    },
  },
});
