import type { CandidateName } from './candidates/index.js';
import { Fleet, type FleetSettings } from './fleet.js';
import { assertDescriptors } from './machine.js';
import type { Options } from './options.js';
import type { Results, Table } from './results.js';

/** What a scenario has at hand. */
export interface Context {
  readonly options: Options;
  /** Those of the candidates that can be had here. */
  readonly candidates: readonly CandidateName[];
  readonly results: Results;
}

/** Measures, and returns what is to be printed. */
export type Scenario = (context: Context) => Promise<Table[]>;

/** What is going on, for those who wait; results go to the standard output. */
export function progress(text: string): void {
  console.error(`  ${text}`);
}

/** Opens one fleet per candidate, and closes them whatever happens. */
export async function withFleets<T>(
  names: readonly CandidateName[],
  settings: FleetSettings,
  { options }: Context,
  use: (fleets: readonly Fleet[]) => Promise<T>,
): Promise<T> {
  assertDescriptors(settings.connections);
  const fleets: Fleet[] = [];
  try {
    for (const name of names) {
      progress(`${name}: connecting ${settings.connections} clients`);
      fleets.push(await Fleet.open(name, { ...settings, serverArgs: options.serverArgs }));
    }
    return await use(fleets);
  } finally {
    for (const fleet of fleets) await fleet.close();
  }
}
