import type { CandidateName } from './candidates/index.js';

/** A table as it is printed. */
export interface Table {
  readonly title: string;
  readonly notes: readonly string[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The median of each candidate in each row, for the goals. */
export class Results {
  readonly #medians = new Map<string, number>();

  set(row: string, candidate: CandidateName, median: number): void {
    this.#medians.set(`${row}/${candidate}`, median);
  }

  get(row: string, candidate: CandidateName): number | undefined {
    return this.#medians.get(`${row}/${candidate}`);
  }
}
