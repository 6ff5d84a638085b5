import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { CANDIDATE_NAMES } from './candidates/index.js';
import { oneOf, readShared, SHARED_OPTIONS } from './shared-options.js';

export const USAGE = `Usage: npm run bench [-- SCENARIO... OPTIONS], or npm run bench -- relay for messages between nodes
  --quick            short rounds, to see that everything works; the figures are rough
  --full             every combination of the fan-out, not only the chosen ones
  --rounds N         measured rounds per candidate and row (default 5)
  --round-ms N       server CPU of a round in ms (default 300, with --quick 80)
  --only A,B         candidates: ${CANDIDATE_NAMES.join(', ')}
  --against FOLDER   also measures the library that is built in another checkout
  --write            put the results into the README, if the machine was quiet
  --profile FOLDER   CPU profiles of the server processes`;

const { INIT_CWD = '.' } = process.env;

export type Options = ReturnType<typeof readOptions>;

/** What the command line asks for. @throws {Error} an option is unknown, or its value is not what was expected */
export function readOptions(args: readonly string[]) {
  const { values, positionals: scenarios } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...SHARED_OPTIONS,
      only: { type: 'string', default: CANDIDATE_NAMES.join() },
      against: { type: 'string' },
    },
  });
  const { only, against } = values;
  return {
    scenarios,
    ...readShared(values, { normal: '300', quick: '80' }),
    candidates: only.split(',').map((name) => oneOf(CANDIDATE_NAMES, name)),
    /** Folder of the other checkout; relative to where npm was called. */
    against: against === undefined ? undefined : pathToFileURL(`${resolve(INIT_CWD, against)}/`),
  };
}
