import { measureRows, type Row } from '../cpu-rows.js';
import type { Context } from '../context.js';
import type { Table } from '../results.js';

const SIZES = [64, 1024, 16 * 1024];
const PER_TURN = [1, 10, 50];

/** Bytes and messages per turn that are measured unless all are asked for. */
const CHOSEN: Record<number, readonly (readonly [bytes: number, perTurn: number])[]> = {
  10: [
    [64, 1],
    [64, 10],
    [16 * 1024, 1],
  ],
  1000: [
    [64, 1],
    [64, 10],
    [64, 50],
    [1024, 1],
    [1024, 10],
    [16 * 1024, 1],
  ],
  10_000: [
    [64, 1],
    [64, 10],
  ],
};

/** One message to N connections. */
export async function fanOut(context: Context): Promise<Table[]> {
  const tables: Table[] = [];
  for (const [key, chosen] of Object.entries(CHOSEN)) {
    const connections = Number(key);
    const combinations = context.options.isFull
      ? SIZES.flatMap((bytes) => PER_TURN.map((perTurn) => [bytes, perTurn] as const))
      : chosen;
    const rows = combinations.map(([bytes, perTurn]) => row(connections, bytes, perTurn));
    const title = `Fan-out to ${connections.toLocaleString('en-US')} connections`;
    tables.push(await measureRows(context, title, { connections }, rows));
  }
  return tables;
}

function row(connections: number, bytes: number, perTurn: number): Row {
  const size = bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
  return {
    key: `fan-out/${connections}/${bytes}/${perTurn}`,
    label: `${size}, ${perTurn} per turn`,
    shape: { pattern: 'b'.repeat(perTurn), bytes },
  };
}
