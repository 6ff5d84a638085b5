import { parseArgs } from 'node:util';
import { CANDIDATE_NAMES, type CandidateName } from './candidates/index.js';

/** What the command line asks for. */
export interface Options {
  readonly scenarios: readonly string[];
  readonly candidates: readonly CandidateName[];
  /** Measured rounds per candidate and row. */
  readonly rounds: number;
  /** CPU of the server in a round, that a candidate's number of turns is chosen for, in ms. */
  readonly roundMs: number;
  /** All combinations instead of the chosen ones. */
  readonly isFull: boolean;
  readonly isQuick: boolean;
  /** Put the results into the README. */
  readonly isWriting: boolean;
  /** Node options of the server processes. */
  readonly serverArgs: readonly string[];
}

const DEFAULT_ROUNDS = 5;
const DEFAULT_ROUND_MS = 300;
const QUICK_ROUND_MS = 80;

export const USAGE = `Usage: npm run bench [-- SCENARIO... OPTIONS]
  --quick            short rounds, to see that everything works; the figures are rough
  --full             every combination of the fan-out, not only the chosen ones
  --rounds N         measured rounds per candidate and row (default ${DEFAULT_ROUNDS})
  --round-ms N       server CPU of a round in ms (default ${DEFAULT_ROUND_MS})
  --only A,B         candidates: ${CANDIDATE_NAMES.join(', ')}
  --write            put the results into the README
  --profile FOLDER   CPU profiles of the server processes`;

/** @throws {Error} an option is unknown or no number */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      'round-ms': { type: 'string' },
      only: { type: 'string' },
      profile: { type: 'string' },
    },
  });
  const { quick, full, write, only, profile } = values;
  return {
    scenarios: positionals,
    candidates: only === undefined ? CANDIDATE_NAMES : only.split(',').map(toCandidate),
    rounds: toCount(values.rounds, DEFAULT_ROUNDS),
    roundMs: toCount(values['round-ms'], quick ? QUICK_ROUND_MS : DEFAULT_ROUND_MS),
    isFull: full,
    isQuick: quick,
    isWriting: write,
    serverArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  };
}

function toCount(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`Expected a positive integer, got ${text}`);
  return count;
}

function toCandidate(text: string): CandidateName {
  const name = CANDIDATE_NAMES.find((candidate) => candidate === text);
  if (name === undefined)
    throw new Error(`Expected a candidate (${CANDIDATE_NAMES.join(', ')}), got ${text}`);
  return name;
}
