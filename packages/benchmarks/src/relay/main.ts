import { describeRun, hasBroker, markdown, OtherLoad, PINNING } from '@soketi/load/harness';
import { writeReadme } from '../report.js';
import type { Transport } from './calls.js';
import { RELAY_CANDIDATES } from './candidates/index.js';
import { measureCost } from './cost.js';
import { measureFanOut } from './fan-out.js';
import { measureJoins } from './joins.js';
import { measureLatency } from './latency.js';
import { readRelayOptions, type RelayOptions, type RelayScenario } from './options.js';
import { goalTable, type Report } from './report.js';

const SCENARIOS: Record<RelayScenario, (options: RelayOptions) => Promise<Report>> = {
  cost: measureCost,
  'fan-out': measureFanOut,
  latency: measureLatency,
  joins: measureJoins,
};

/** A run that takes longer than this hangs, in ms. */
const MAX_RUN_MS = 45 * 60_000;

/** `npm run bench -- relay`: what messages between nodes cost. @throws {Error} an option is wrong, a message was lost … */
export async function relay(args: readonly string[]): Promise<void> {
  const options = readRelayOptions(args);
  setTimeout(() => {
    console.error(`Not done after ${MAX_RUN_MS / 60_000} minutes`);
    process.exit(1);
  }, MAX_RUN_MS).unref();
  const otherLoad = await OtherLoad.watch();
  const assertMayWrite = (): void => {
    if (options.isWriting && otherLoad.objection) throw new Error(`Not written: ${otherLoad.objection}`);
  };
  assertMayWrite();
  const { transports, notes } = measurable(options.transports);
  const modules = options.candidates.flatMap((name) =>
    transports.flatMap((transport) => RELAY_CANDIDATES[name].modules[transport] ?? []),
  );
  const versions = [...new Set(modules)].map((module) => import.meta.resolve(module));
  const about = [...describeRun('bench', versions), PINNING, ...notes];
  console.error(about.join('\n'));
  const reports: Report[] = [];
  for (const name of options.scenarios) reports.push(await SCENARIOS[name]({ ...options, transports }));
  const lines = [...about, String(otherLoad)].map((line) => `- ${line}`);
  const tables = [...goalTable(reports), ...reports.flatMap((each) => each.tables)];
  const text = [lines.join('\n'), ...tables.map(markdown)].join('\n\n');
  console.log(text);
  assertMayWrite();
  if (options.isWriting) writeReadme(text, 'relay');
}

/** Removes transports whose broker is not installed here, and prints which. */
function measurable(transports: readonly Transport[]): {
  readonly transports: readonly Transport[];
  readonly notes: readonly string[];
} {
  const isMissing = (transport: Transport): boolean =>
    transport !== 'ipc' && !hasBroker(transport === 'nats' ? 'nats' : 'redis');
  return {
    transports: transports.filter((transport) => !isMissing(transport)),
    notes: transports
      .filter(isMissing)
      .map((transport) => `Not measured: ${transport}, its broker is not installed`),
  };
}
