import type { CandidateName } from '../candidates/index.js';
import { measureRow, type Row } from '../cpu-rows.js';
import { withFleets, type Context } from '../context.js';
import type { Compression } from '../load.js';
import { format } from '../report.js';
import type { Table } from '../results.js';

const CONNECTIONS = 500;
const SIZES: Record<Exclude<Compression, 'none'>, readonly number[]> = {
  stateless: [1024, 2 * 1024, 16 * 1024],
  takeover: [256, 1024, 2 * 1024, 16 * 1024],
};

/** Those that agree on it: the floor does not compress, and uWebSockets.js shares one compressor. */
const ABLE: Record<Exclude<Compression, 'none'>, readonly CandidateName[]> = {
  stateless: ['soketi', 'ws-loop', 'crossws', 'socket.io', 'uws'],
  takeover: ['soketi', 'soketi-history', 'ws-loop'],
};

/** JSON with permessage-deflate, without and with context takeover of the server. */
export async function deflate(context: Context): Promise<Table[]> {
  const all = new Set([...ABLE.stateless, ...ABLE.takeover]);
  const names = context.candidates.filter((name) => all.has(name));
  const rows: string[][] = [];
  const bytesRows: string[][] = [];
  for (const compression of ['stateless', 'takeover'] as const) {
    const able = names.filter((name) => ABLE[compression].includes(name));
    await withFleets(able, { connections: CONNECTIONS, compression }, context, async (fleets) => {
      for (const bytes of SIZES[compression]) {
        const measured = row(compression, bytes);
        const [label = '', ...cells] = await measureRow(context, fleets, measured);
        const clients = cells.pop() ?? '';
        const onTheWire = names.map((name) => context.results.get(`${measured.key}/bytes`, name));
        bytesRows.push([label, ...onTheWire.map((value) => (value === undefined ? '-' : format(value)))]);
        rows.push([label, ...names.map((name) => cells[able.indexOf(name)] ?? '-'), clients]);
      }
    });
  }
  const columns = ['ns of server CPU per message', ...names, 'clients'];
  const title = `permessage-deflate, ${CONNECTIONS} connections`;
  return [
    { title, notes: [], columns, rows },
    {
      title: `${title}, bytes`,
      notes: [],
      columns: ['bytes on the wire per message', ...names],
      rows: bytesRows,
    },
  ];
}

function row(compression: Compression, bytes: number): Row {
  const takeover = compression === 'stateless' ? 'no context takeover' : 'context takeover';
  return {
    key: `deflate/${compression}/${bytes}`,
    label: `${bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`} JSON, ${takeover}`,
    shape: { pattern: 'b', bytes, kind: 'json' },
  };
}
