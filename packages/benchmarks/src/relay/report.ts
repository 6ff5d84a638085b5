import type { Table } from '@soketi/load/harness';

/** What a scenario has shown. */
export interface Report {
  /** Lines of the table of goals: scenario, against, goal, measured, met. */
  readonly goals: readonly (readonly string[])[];
  readonly tables: readonly Table[];
}

export function goalTable(reports: readonly Report[]): Table[] {
  const rows = reports.flatMap(({ goals }) => goals);
  const columns = ['scenario', 'against', 'goal', 'measured', 'met'];
  const notes = ['How many times less than the other one this library needs, where nothing else is said.'];
  return rows.length === 0 ? [] : [{ title: 'Goals of the relay', notes, columns, rows }];
}
