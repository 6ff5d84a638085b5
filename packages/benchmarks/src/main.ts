import { CANDIDATES, entryOf, type CandidateName } from './candidates/index.js';
import type { Context } from './context.js';
import { goalTable } from './goals.js';
import { describeRun } from './machine.js';
import { readOptions, USAGE, type Options } from './options.js';
import { markdown, writeReadme } from './report.js';
import { Results, type Table } from './results.js';
import { SCENARIOS } from './scenarios/index.js';

/** Leaves out what cannot be imported here, and says so. */
async function importable({ candidates }: Options): Promise<{ present: CandidateName[]; notes: string[] }> {
  const present: CandidateName[] = [];
  const notes: string[] = [];
  for (const name of candidates) {
    const { module } = CANDIDATES[name];
    try {
      await import(module);
      present.push(name);
    } catch (error) {
      const [why] = String(error).split('\n').slice(-1);
      notes.push(`Not measured: ${name} (${module} cannot be imported: ${why ?? ''})`);
    }
  }
  return { present, notes };
}

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  const chosen = options.scenarios.length > 0 ? options.scenarios : [...SCENARIOS.keys()];
  const unknown = chosen.filter((name) => !SCENARIOS.has(name));
  if (unknown.length > 0)
    throw new Error(`Expected ${[...SCENARIOS.keys()].join(', ')}, got ${unknown.join(', ')}`);
  const { present, notes } = await importable(options);
  const about = [...describeRun(present, args), ...notes].map((line) => `- ${line}`).join('\n');
  console.error(about);
  const results = new Results();
  const tables: Table[] = [];
  for (const name of chosen) {
    console.error(name);
    const candidates = present.filter((candidate) => name === 'deflate' || !entryOf(candidate).isForDeflate);
    const context: Context = { options, candidates, results };
    tables.push(...((await SCENARIOS.get(name)?.(context)) ?? []));
  }
  const goals = goalTable(results);
  const report = [about, ...(goals ? [goals] : []).concat(tables).map(markdown)].join('\n\n');
  console.log(report);
  if (options.isWriting) writeReadme(report);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  console.error(USAGE);
  process.exitCode = 1;
}
