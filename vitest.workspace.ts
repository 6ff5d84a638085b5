import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Vitest 4 does not look for a file of this name: every script passes it with `--config`.
const project = (name: string) => ({
  extends: true as const,
  test: {
    name,
    root: fileURLToPath(new URL(`packages/${name}`, import.meta.url)),
    include: ['test/**/*.test.ts'],
  },
});

// .ci/run counts the tests from this report.
const { VITEST_JSON_FILE } = process.env;

export default defineConfig({
  test: {
    projects: [project('connections'), project('demo')],
    // Most of the time goes by in waiting for sockets and timers, not for a core.
    maxWorkers: 6,
    // The same goes for tests of one file that run beside each other.
    maxConcurrency: 20,
    // Coverage, and whatever else runs on the machine, may slow them down; none is meant to take a second.
    testTimeout: 20_000,
    reporters: VITEST_JSON_FILE ? ['default', ['json', { outputFile: VITEST_JSON_FILE }]] : ['default'],
    coverage: {
      provider: 'v8',
      include: ['packages/connections/src/**'],
      reporter: ['text'],
    },
  },
});
