import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { CANDIDATE_NAMES } from './candidates/index.js';

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
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '5' },
      'round-ms': { type: 'string' },
      only: { type: 'string', default: CANDIDATE_NAMES.join() },
      against: { type: 'string' },
      profile: { type: 'string' },
    },
  });
  const { quick: isQuick, full: isFull, write: isWriting, rounds, only, against, profile } = values;
  return {
    scenarios,
    isQuick,
    isFull,
    isWriting,
    rounds: toCount(rounds),
    /** CPU of the server in a round, that a candidate's number of turns is chosen for. */
    roundMs: toCount(values['round-ms'] ?? (isQuick ? '80' : '300')),
    candidates: only.split(',').map((name) => oneOf(CANDIDATE_NAMES, name)),
    /** Folder of the other checkout; relative to where npm was called. */
    against: against === undefined ? undefined : pathToFileURL(`${resolve(INIT_CWD, against)}/`),
    serverArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  };
}

export function toCount(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`Expected a positive integer, got ${text}`);
  return count;
}

export function oneOf<T extends string>(names: readonly T[], text: string): T {
  const name = names.find((each) => each === text);
  if (name === undefined) throw new Error(`Expected one of ${names.join(', ')}, got ${text}`);
  return name;
}
