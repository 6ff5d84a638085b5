import { describeRun, markdown, OtherLoad, PINNING } from '@soketi/load/harness';
import { subjectsOf, type Subject } from './candidates/index.js';
import { goalTable } from './goals.js';
import { measure } from './measure.js';
import { readOptions, USAGE, type Options } from './options.js';
import { tablesOf, writeReadme, type Result } from './report.js';
import { relay } from './relay/main.js';
import { RELAY_USAGE } from './relay/options.js';
import { SCENARIOS } from './scenarios.js';
import { oneOf } from './shared-options.js';

/** Removes candidates that cannot be imported here, and prints which. */
async function importable(options: Options): Promise<{ subjects: Subject[]; notes: string[] }> {
  const subjects: Subject[] = [];
  const notes: string[] = [];
  for (const subject of subjectsOf(options.candidates, options.against)) {
    try {
      await import(subject.module);
      subjects.push(subject);
    } catch (error) {
      // A candidate that was requested by its folder must be there.
      if (options.against && subject.module.startsWith(options.against.href)) throw error;
      const [why = ''] = String(error).split('\n').slice(-1);
      notes.push(`Not measured: ${subject.name} (${subject.module} cannot be imported: ${why})`);
    }
  }
  return { subjects, notes };
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const all = Object.keys(SCENARIOS);
  const names = options.scenarios.length > 0 ? options.scenarios.map((name) => oneOf(all, name)) : all;
  const otherLoad = await OtherLoad.watch();
  const assertMayWrite = (): void => {
    if (options.isWriting && otherLoad.objection) throw new Error(`Not written: ${otherLoad.objection}`);
  };
  assertMayWrite();
  const { subjects, notes } = await importable(options);
  const modules = subjects.map(({ module }) => import.meta.resolve(module));
  const about = [...describeRun('bench', modules), PINNING, ...notes];
  console.error(about.join('\n'));
  const results: Result[] = [];
  for (const group of names.flatMap((name) => SCENARIOS[name]?.(options) ?? [])) {
    results.push(...(await measure(group, subjects, options)));
  }
  const lines = [...about, String(otherLoad)].map((line) => `- ${line}`);
  const report = [lines.join('\n'), ...goalTable(results).concat(tablesOf(results)).map(markdown)].join(
    '\n\n',
  );
  console.log(report);
  assertMayWrite();
  if (options.isWriting) writeReadme(report);
}

const [scope, ...args] = process.argv.slice(2);
const isRelay = scope === 'relay';
try {
  if (isRelay) await relay(args);
  else await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  console.error(isRelay ? RELAY_USAGE : USAGE);
  process.exitCode = 1;
}
