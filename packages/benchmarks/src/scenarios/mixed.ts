import { measureRows } from '../cpu-rows.js';
import type { Context } from '../context.js';
import type { Table } from '../results.js';

const CONNECTIONS = 1000;
const BYTES = 64;

/** Broadcasts and a private message to each connection in the same turn. */
export async function mixed(context: Context): Promise<Table[]> {
  const rows = [
    {
      key: 'mixed/last',
      label: '5 broadcasts, then 1 private to each',
      shape: { pattern: 'bbbbbp', bytes: BYTES },
    },
    {
      key: 'mixed/middle',
      label: '3 broadcasts, 1 private to each, 2 broadcasts',
      shape: { pattern: 'bbbpbb', bytes: BYTES },
    },
  ];
  const settings = { connections: CONNECTIONS, isIndexed: true };
  return [await measureRows(context, `Mixed, ${CONNECTIONS} connections, ${BYTES} B`, settings, rows)];
}
