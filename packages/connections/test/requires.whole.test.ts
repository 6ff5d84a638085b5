import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findProgram } from './support/requires.js';
import { ROOT, run } from './support/workspace-copy.js';

/** Each of these starts another Vitest. */
const TIMEOUT_MS = 60_000;

const suites = `
  import { test } from 'vitest';
  import { describeWith } from ${JSON.stringify(fileURLToPath(new URL('support/requires.ts', import.meta.url)))};
  describeWith(['node'], 'with Node', () => test('runs', () => undefined));
  describeWith(['node', 'no-such-program'], 'with more', () => test('runs', () => undefined));
`;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'connections-requires-'));
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
  await writeFile(path.join(folder, 'suites.test.js'), suites);
});

afterAll(() => rm(folder, { recursive: true }));

interface Report {
  readonly success: boolean;
  readonly testResults: readonly [{ readonly assertionResults: readonly Result[] }];
}

interface Result {
  readonly fullName: string;
  readonly status: string;
}

/** The status of each test of the suites: full name -> status. */
async function runSuites(
  isAllRequired: string,
): Promise<{ isPassed: boolean; tests: Record<string, string> }> {
  const args = [
    'exec',
    '--',
    'vitest',
    'run',
    '--root',
    folder,
    '--reporter=json',
    '--outputFile=report.json',
  ];
  const isPassed = await run('npm', args, folder, { SOKETI_REQUIRE_ALL: isAllRequired }).then(
    () => true,
    () => false,
  );
  const report = JSON.parse(await readFile(path.join(folder, 'report.json'), 'utf8')) as Report;
  const results = report.testResults[0].assertionResults;
  return { isPassed, tests: Object.fromEntries(results.map(({ fullName, status }) => [fullName, status])) };
}

const REASON = 'needs no-such-program, not on the PATH';

test(
  'a suite whose programs are missing is skipped, and its title says why',
  { timeout: TIMEOUT_MS },
  async () => {
    expect(await runSuites('')).toEqual({
      isPassed: true,
      tests: { 'with Node runs': 'passed', [`with more (${REASON}) runs`]: 'skipped' },
    });
  },
);

test(
  'a suite whose programs are missing fails if everything is required',
  { timeout: TIMEOUT_MS },
  async () => {
    expect(await runSuites('1')).toEqual({
      isPassed: false,
      tests: { 'with Node runs': 'passed', [`with more ${REASON}`]: 'failed' },
    });
  },
);

test('findProgram finds a program by any of its names', () => {
  expect(findProgram('no-such-program', 'node')).toMatch(/node(\.exe|\.cmd)?$/);
  expect(findProgram('no-such-program')).toBeUndefined();
});
