import { configDefaults, defineConfig } from 'vitest/config';

// Vitest 4 does not look for a file of this name: every script passes it with `--config`.
const TESTS = '**/test/**/*.test.ts';
const LOOPBACK = '**/test/**/*.loopback.test.ts';
const WHOLE = '**/test/**/*.whole.test.ts';

/** The tests of the package in whose folder Vitest is started, or of all packages if that is the root. */
const project = (
  name: string,
  include: string,
  others: readonly string[] = [],
  pool: 'forks' | 'threads' = 'forks',
) => ({
  extends: true as const,
  test: {
    name,
    pool,
    dir: process.cwd(),
    include: [include],
    exclude: [...configDefaults.exclude, ...others],
  },
});

// .ci/run counts the tests from this report.
const { VITEST_JSON_FILE } = process.env;

export default defineConfig({
  test: {
    projects: [
      // Sockets in memory and a fake clock. Most of the time goes into starting files: a thread starts faster.
      project('unit', TESTS, [LOOPBACK, WHOLE], 'threads'),
      // Real sockets on 127.0.0.1.
      project('loopback', LOOPBACK),
      // The packed package, versions of ws, programs in processes of their own.
      project('whole', WHOLE),
    ],
    // Most of the time goes by in waiting for sockets and timers, not for a core.
    maxWorkers: 6,
    // The same goes for tests of one file that run beside each other.
    maxConcurrency: 20,
    // Coverage, and whatever else runs on the machine, may slow them down; none is meant to take a second.
    testTimeout: 20_000,
    // The same goes for what they poll.
    expect: { poll: { timeout: 10_000 } },
    reporters: VITEST_JSON_FILE ? ['default', ['json', { outputFile: VITEST_JSON_FILE }]] : ['default'],
    coverage: {
      provider: 'v8',
      include: ['packages/connections/src/**'],
      reporter: ['text'],
    },
  },
});
