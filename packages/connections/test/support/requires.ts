import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

/** Set by `.ci/run`, which installs all that suites need: what is missing there is a failure, not a skipped suite. */
const isAllRequired = process.env['SOKETI_REQUIRE_ALL'] === '1';

/** Windows has no signals: there, a signal just ends the process. */
export const hasSignals = process.platform !== 'win32';

const ENDINGS = process.platform === 'win32' ? ['.exe', '.cmd', ''] : [''];

/** The path of a program on the `PATH`, by the first of its names that exists. */
export function findProgram(...names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  return names
    .flatMap((name) => folders.flatMap((folder) => ENDINGS.map((ending) => path.join(folder, name + ending))))
    .find((file) => existsSync(file));
}

/**
 * A suite that needs programs which npm does not install, such as `redis-server`. Where one is missing the suite is
 * skipped, and its title says why; with `SOKETI_REQUIRE_ALL=1` it fails.
 */
export function describeWith(programs: readonly string[], title: string, suite: () => void): void {
  const missing = programs.filter((name) => findProgram(name) === undefined);
  if (missing.length === 0) {
    describe(title, suite);
    return;
  }
  const reason = `needs ${missing.join(' and ')}, not on the PATH`;
  if (isAllRequired) describe(title, () => test(reason, () => expect.fail(reason)));
  else describe.skip(`${title} (${reason})`, suite);
}
