import { Remote, SERVER_CORE, withProcesses } from '@soketi/load/harness';
import { startBroker, type Between } from './between.js';
import type { JoinerCalls } from './joiner.js';
import type { RelayOptions } from './options.js';
import type { Report } from './report.js';

const NAMESPACES = 10_000;
/** 512 channels in each: the most that the cluster layer gives an adapter at once. */
const MAX_COMMANDS = Math.ceil(NAMESPACES / 512);

/** The first members of 10,000 namespaces join in one turn. */
export async function measureJoins({ transports }: RelayOptions): Promise<Report> {
  const rows: string[][] = [];
  const goals: string[][] = [];
  for (const transport of ['node-redis', 'ioredis'] as const) {
    if (!transports.includes(transport)) continue;
    console.error(`Joins over ${transport}`);
    const broker = (await startBroker(transport)) as Between;
    const { commands, tookMs } = await joinAll(transport, broker).finally(() => broker.stop());
    rows.push([transport, `${commands}`, `${Math.round(tookMs)}`]);
    goals.push([
      `${transport}: ${NAMESPACES} first joins at once`,
      '-',
      `at most ${MAX_COMMANDS} SUBSCRIBE commands`,
      `${commands}`,
      commands <= MAX_COMMANDS ? 'yes' : 'NO',
    ]);
  }
  const title = `The first members of ${NAMESPACES} namespaces join in one turn`;
  const columns = ['over', 'SUBSCRIBE commands', 'ms until all have joined'];
  return { goals, tables: [{ title, notes: [], columns, rows }] };
}

function joinAll(
  transport: 'node-redis' | 'ioredis',
  broker: Between,
): Promise<{ readonly commands: number; readonly tookMs: number }> {
  return withProcesses(async (started) => {
    const joiner = started(
      new Remote<JoinerCalls>(new URL('joiner.js', import.meta.url), { core: SERVER_CORE }),
    );
    await joiner.call('start', { candidate: 'soketi', transport, port: broker.port });
    const before = await broker.subscribeCommands();
    const tookMs = await joiner.call('join', NAMESPACES);
    return { tookMs, commands: (await broker.subscribeCommands()) - before };
  });
}
