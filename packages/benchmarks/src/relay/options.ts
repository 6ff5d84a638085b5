import { parseArgs } from 'node:util';
import { oneOf, readShared, SHARED_OPTIONS, type SharedOptions } from '../shared-options.js';
import type { RelayCandidateName, Transport } from './calls.js';
import { RELAY_CANDIDATES } from './candidates/index.js';

const TRANSPORTS: readonly Transport[] = ['node-redis', 'ioredis', 'nats', 'ipc'];
const CANDIDATES = Object.keys(RELAY_CANDIDATES) as readonly RelayCandidateName[];

export const RELAY_SCENARIOS = ['cost', 'fan-out', 'latency', 'joins'] as const;
export type RelayScenario = (typeof RELAY_SCENARIOS)[number];

export const RELAY_USAGE = `Usage: npm run bench -- relay [SCENARIO... OPTIONS]
  SCENARIO           ${RELAY_SCENARIOS.join(', ')} (default: all)
  --quick            short rounds, to see that everything works; the figures are rough
  --full             every combination of size, messages per turn, body and exception, not only the chosen ones
  --rounds N         measured rounds per candidate and row (default 5)
  --round-ms N       CPU of both nodes in a round in ms (default 400, with --quick 50)
  --over A,B         transports: ${TRANSPORTS.join(', ')}
  --only A,B         candidates: ${CANDIDATES.join(', ')}
  --write            put the results into the README, if the machine was quiet
  --profile FOLDER   CPU profiles of the nodes`;

export interface RelayOptions extends SharedOptions {
  readonly scenarios: readonly RelayScenario[];
  readonly transports: readonly Transport[];
  readonly candidates: readonly RelayCandidateName[];
  /** Options of Node.js for the nodes. */
  readonly nodeArgs: readonly string[];
}

/** What the command line asks for. @throws {Error} an option is unknown, or its value is not what was expected */
export function readRelayOptions(args: readonly string[]): RelayOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...SHARED_OPTIONS,
      over: { type: 'string', default: TRANSPORTS.join() },
      only: { type: 'string', default: CANDIDATES.join() },
    },
  });
  const { over, only } = values;
  const shared = readShared(values, { normal: '400', quick: '50' });
  return {
    scenarios:
      positionals.length > 0 ? positionals.map((name) => oneOf(RELAY_SCENARIOS, name)) : RELAY_SCENARIOS,
    ...shared,
    transports: over.split(',').map((name) => oneOf(TRANSPORTS, name)),
    candidates: only.split(',').map((name) => oneOf(CANDIDATES, name)),
    nodeArgs: ['--expose-gc', ...shared.profileArgs],
  };
}
