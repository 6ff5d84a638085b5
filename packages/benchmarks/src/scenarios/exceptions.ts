import { measureRows } from '../cpu-rows.js';
import type { Context } from '../context.js';
import type { Table } from '../results.js';

const CONNECTIONS = 1000;
const BYTES = 64;
const COUNTS = [1, 100];
const PER_TURN = [1, 10];

/** Broadcasts that leave out one connection, as the one that it comes from, or many: others for each message. */
export async function exceptions(context: Context): Promise<Table[]> {
  const rows = COUNTS.flatMap((count) =>
    PER_TURN.map((perTurn) => ({
      key: `exceptions/${count}/${perTurn}`,
      label: `${count} left out, ${perTurn} per turn`,
      shape: { pattern: 'b'.repeat(perTurn), bytes: BYTES, exceptions: count },
    })),
  );
  const settings = { connections: CONNECTIONS, isIndexed: true };
  return [await measureRows(context, `Exceptions, ${CONNECTIONS} connections, ${BYTES} B`, settings, rows)];
}
