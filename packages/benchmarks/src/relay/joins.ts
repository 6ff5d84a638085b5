import { Connection } from '@soketi/connections';
import { nowMs } from '@soketi/load/harness';
import { EventEmitter } from 'node:events';
import { startBroker, type Between } from './between.js';
import { clusteredPool } from './candidates/soketi.js';
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
    const { commands, tookMs } = await joinAll(transport, broker);
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

async function joinAll(
  transport: 'node-redis' | 'ioredis',
  broker: Between,
): Promise<{ readonly commands: number; readonly tookMs: number }> {
  const pool = await clusteredPool({ candidate: 'soketi', transport, port: broker.port });
  const before = await broker.subscribeCommands();
  const startedAtMs = nowMs();
  const joins = Array.from({ length: NAMESPACES }, (_, index) =>
    pool.newConnection(new Connection('member', `namespace ${index}`, new IdleSocket())),
  );
  await Promise.all(joins);
  const tookMs = nowMs() - startedAtMs;
  const commands = (await broker.subscribeCommands()) - before;
  await pool.cluster.leave();
  return { commands, tookMs };
}

class IdleSocket extends EventEmitter {
  readonly readyState = 1;
  send(): void {
    throw new Error('Nothing is sent here');
  }
  close(): void {
    throw new Error('Nothing is closed here');
  }
}
