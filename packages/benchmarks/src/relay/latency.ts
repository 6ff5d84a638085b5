import {
  CLIENT_CORE,
  formatSpread,
  median,
  percentile,
  Remote,
  SERVER_CORE,
  withProcesses,
  type Started,
} from '@soketi/load/harness';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientCalls } from '../clients.js';
import { atMostMore } from '../goals.js';
import { startBroker, type Between } from './between.js';
import type { RelayCandidateName, Transport } from './calls.js';
import { RELAY_CANDIDATES } from './candidates/index.js';
import { startNodes } from './nodes.js';
import type { RelayOptions } from './options.js';
import type { Report } from './report.js';

/** Candidates that have a server with clients. */
const CANDIDATES: readonly RelayCandidateName[] = ['soketi', 'socket.io'];
/** 100 messages per second. */
const GAP_MS = 10;
const BYTES = 64;
const MESSAGES = 200;
const QUICK_MESSAGES = 50;
/** How long to wait until a node is subscribed that does not report it, in ms. */
const SUBSCRIBED_MS = 500;
const GOAL = atMostMore(100, 'µs');

/** Latencies of one round, in µs. */
type Run = (messages: number) => Promise<number[]>;

/** The time of a single message from the call on one node to a client of another one. */
export async function measureLatency(options: RelayOptions): Promise<Report> {
  const rows: string[][] = [];
  const goals: string[][] = [];
  for (const transport of options.transports) {
    const rounds = await measureOver(transport, options);
    const p50 = (name: RelayCandidateName): number[] =>
      (rounds.get(name) ?? []).map((round) => percentile(round, 0.5));
    for (const [name, taken] of rounds) {
      const all = taken.flat();
      rows.push([
        transport,
        name,
        formatSpread(p50(name)),
        formatSpread([percentile(all, 0.99)]),
        `${all.length}`,
      ]);
    }
    if (rounds.size < 2) continue;
    const measured = GOAL.compare(median(p50('soketi')), median(p50('socket.io')));
    const verdict = GOAL.isMet(measured) ? 'yes' : 'NO';
    goals.push([`${transport}: a lone message, p50`, 'socket.io', GOAL.text, GOAL.show(measured), verdict]);
  }
  const title = 'Latency of a lone message to a client of another node, 100 per second';
  const columns = ['µs', 'candidate', 'p50 (min–max of the rounds)', 'p99', 'n'];
  return { goals, tables: [{ title, notes: [], columns, rows }] };
}

async function measureOver(
  transport: Transport,
  { rounds, isQuick, nodeArgs, candidates }: RelayOptions,
): Promise<ReadonlyMap<RelayCandidateName, readonly number[][]>> {
  console.error(`Latency over ${transport}`);
  const broker = await startBroker(transport);
  try {
    return await withProcesses(async (started) => {
      const runs = new Map<RelayCandidateName, Run>();
      for (const name of CANDIDATES.filter((each) => candidates.includes(each))) {
        const { modules } = RELAY_CANDIDATES[name];
        if (modules[transport]) runs.set(name, await start(name, transport, broker, nodeArgs, started));
      }
      const messages = isQuick ? QUICK_MESSAGES : MESSAGES;
      for (const run of runs.values()) await run(messages);
      const samples = new Map<RelayCandidateName, number[][]>();
      for (let round = 0; round < rounds; round++) {
        for (const [name, run] of runs)
          samples.set(name, [...(samples.get(name) ?? []), await run(messages)]);
      }
      return samples;
    });
  } finally {
    await broker?.stop();
  }
}

async function start(
  candidate: RelayCandidateName,
  transport: Transport,
  broker: Between | undefined,
  nodeArgs: readonly string[],
  started: Started,
): Promise<Run> {
  const client = started(new Remote<ClientCalls>(new URL('../clients.js', import.meta.url)));
  const cores = [SERVER_CORE, CLIENT_CORE] as const;
  const nodes = await startNodes({ candidate, transport }, broker, cores, nodeArgs, started);
  const { settings, publisher, receiver } = nodes;
  const controlPort = await publisher.call('joinToPublish', settings);
  await receiver.call('joinToServe', settings);
  await delay(SUBSCRIBED_MS);
  const port = await receiver.call('serve');
  const isSocketIo = candidate === 'socket.io';
  await client.call('connect', { port, controlPort, connections: 1, compression: 'none', isSocketIo });
  await delay(SUBSCRIBED_MS);
  return async (messages) => {
    const load = {
      bytes: BYTES,
      body: 'text',
      turns: messages,
      turnsPerAck: 1,
      window: 1,
      gapMs: GAP_MS,
    } as const;
    // If only the server begins turns, the client needs no pause.
    await client.call('arm', { ...load, turn: ['broadcast'], base: 0 });
    const [{ begunAtMs }, { completedAtMs }] = await Promise.all([
      publisher.call('publish', { ...load, hasException: false, perTurn: 1 }),
      client.call('finish'),
    ]);
    return begunAtMs.map((atMs, message) => ((completedAtMs[message] ?? NaN) - atMs) * 1000);
  };
}
