import type { CandidateName } from '../candidates/index.js';
import { measureRow, type Row } from '../cpu-rows.js';
import { withFleets, type Context } from '../context.js';
import type { Compression } from '../load.js';
import type { Table } from '../results.js';

const CONNECTIONS = 500;
const SIZES = [2 * 1024, 16 * 1024];

/** Those that agree on it: the floor does not compress, and uWebSockets.js shares one compressor. */
const ABLE: Record<Exclude<Compression, 'none'>, readonly CandidateName[]> = {
  stateless: ['soketi', 'ws-loop', 'crossws', 'socket.io', 'uws'],
  takeover: ['soketi', 'ws-loop'],
};

/** JSON with permessage-deflate, without and with context takeover of the server. */
export async function deflate(context: Context): Promise<Table[]> {
  const names = ABLE.stateless.filter((name) => context.candidates.includes(name));
  const rows: string[][] = [];
  for (const compression of ['stateless', 'takeover'] as const) {
    const able = names.filter((name) => ABLE[compression].includes(name));
    await withFleets(able, { connections: CONNECTIONS, compression }, context, async (fleets) => {
      for (const bytes of SIZES) {
        const [label = '', ...cells] = await measureRow(context, fleets, row(compression, bytes));
        const clients = cells.pop() ?? '';
        rows.push([label, ...names.map((name) => cells[able.indexOf(name)] ?? '-'), clients]);
      }
    });
  }
  const columns = ['ns of server CPU per message', ...names, 'clients'];
  return [{ title: `permessage-deflate, ${CONNECTIONS} connections`, notes: [], columns, rows }];
}

function row(compression: Compression, bytes: number): Row {
  const takeover = compression === 'stateless' ? 'no context takeover' : 'context takeover';
  return {
    key: `deflate/${compression}/${bytes}`,
    label: `${bytes / 1024} KiB JSON, ${takeover}`,
    shape: { pattern: 'b', bytes, kind: 'json' },
  };
}
