import {
  CLIENT_CORE,
  cpuMicrosOf,
  formatSpread,
  median,
  Remote,
  SERVER_CORE,
  settled,
  withProcesses,
  type Started,
} from '@soketi/load/harness';
import type { Load } from '../calls.js';
import type { ClientCalls } from '../clients.js';
import { atMost } from '../goals.js';
import { startBroker, type Between } from './between.js';
import type { RelayLoad, Transport } from './calls.js';
import { startNode, startNodes, type NodeCaller } from './nodes.js';
import type { RelayOptions } from './options.js';
import type { Report } from './report.js';

const CLIENTS = 1_000;
const PER_TURN = 10;
const BYTES = 64;
const TURNS = 80;
const QUICK_TURNS = 20;
const WARM_UP_ROUNDS = 3;
/** How long the server may take to see the last client, in ms. */
const CONNECTED_MS = 5_000;
/** A receiving node against one that is alone; workers and their primary against one process. */
const RECEIVING_GOAL = atMost(1.1);
const WORKERS_GOAL = atMost(1.15);

/** ns of CPU per message that one client has received. */
interface FanOutSample {
  readonly publisher: number;
  readonly receiver: number;
  /** CPU per message of both nodes and of what is between them. */
  readonly all: number;
}

/** Runs one round of that many turns. */
type Run = (turns: number) => Promise<FanOutSample>;

/** The cost of a broadcast from another node, compared with one of the node itself. */
export async function measureFanOut(options: RelayOptions): Promise<Report> {
  const reports: Report[] = [];
  for (const transport of options.transports) reports.push(await measureOver(transport, options));
  const rows = reports.flatMap(({ tables }) => tables.flatMap((table) => table.rows));
  const title = `Fan-out of ${PER_TURN} messages of ${BYTES} B per turn, two nodes with ${CLIENTS} clients each`;
  const columns = [
    'ns of CPU per delivered message',
    'alone',
    'publishing node',
    'receiving node',
    'all together',
  ];
  return { goals: reports.flatMap(({ goals }) => goals), tables: [{ title, notes: [], columns, rows }] };
}

async function measureOver(
  transport: Transport,
  { rounds, isQuick, nodeArgs }: RelayOptions,
): Promise<Report> {
  console.error(`Fan-out over ${transport}`);
  const isIpc = transport === 'ipc';
  const broker = await startBroker(transport);
  try {
    return await withProcesses(async (started) => {
      const alone = await runAlone(isIpc ? 2 * CLIENTS : CLIENTS, nodeArgs, started);
      const relayed = await runRelayed(transport, broker, nodeArgs, started);
      const turns = isQuick ? QUICK_TURNS : TURNS;
      const samples: { readonly alone: FanOutSample; readonly relayed: FanOutSample }[] = [];
      for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
        const sample = { alone: await alone(turns), relayed: await relayed(turns) };
        if (round >= 0) samples.push(sample);
      }
      const own = samples.map((sample) => sample.alone.all);
      const figures = (figure: keyof FanOutSample): number[] =>
        samples.map((sample) => sample.relayed[figure]);
      const goal = isIpc ? WORKERS_GOAL : RECEIVING_GOAL;
      const measured = goal.compare(median(figures(isIpc ? 'all' : 'receiver')), median(own));
      const what = isIpc
        ? `ipc: two workers with ${CLIENTS} clients each, and the primary`
        : `${transport}: fan-out on the receiving node`;
      const against = isIpc ? `one process with ${2 * CLIENTS}` : 'a node that is alone';
      const row = [transport, own, figures('publisher'), figures('receiver'), figures('all')];
      return {
        goals: [[what, against, goal.text, goal.show(measured), goal.isMet(measured) ? 'yes' : 'NO']],
        tables: [
          {
            title: '',
            notes: [],
            columns: [],
            rows: [row.map((cell) => (typeof cell === 'string' ? cell : formatSpread(cell)))],
          },
        ],
      };
    });
  } finally {
    await broker?.stop();
  }
}

async function runAlone(connections: number, nodeArgs: readonly string[], started: Started): Promise<Run> {
  const clients = started(
    new Remote<ClientCalls>(new URL('../clients.js', import.meta.url), { core: CLIENT_CORE }),
  );
  const node = startNode(SERVER_CORE, nodeArgs, started);
  const settings = { candidate: 'soketi', transport: 'none', port: 0 } as const;
  const controlPort = await node.call('joinToPublish', settings);
  await connect(clients, node, controlPort, connections);
  return async (turns) => {
    await clients.call('arm', clientLoad(turns));
    const [{ cpuMicros }] = await Promise.all([
      node.call('publish', nodeLoad(turns)),
      clients.call('finish'),
    ]);
    const all = (cpuMicros * 1000) / (turns * PER_TURN * connections);
    return { publisher: all, receiver: NaN, all };
  };
}

async function runRelayed(
  transport: Transport,
  broker: Between | undefined,
  nodeArgs: readonly string[],
  started: Started,
): Promise<Run> {
  const groups = [0, 1].map(() =>
    started(new Remote<ClientCalls>(new URL('../clients.js', import.meta.url), { core: CLIENT_CORE })),
  );
  const settings = { candidate: 'soketi', transport } as const;
  const cores = [SERVER_CORE, SERVER_CORE] as const;
  const nodes = await startNodes(settings, broker, cores, nodeArgs, started);
  const { publisher, receiver, between } = nodes;
  const controlPort = await publisher.call('joinToPublish', nodes.settings);
  await receiver.call('joinToServe', nodes.settings);
  for (const [index, node] of [publisher, receiver].entries()) {
    await connect(groups[index] as Remote<ClientCalls>, node, controlPort, CLIENTS);
  }
  return async (turns) => {
    for (const clients of groups) await clients.call('arm', clientLoad(turns));
    const [receiverBefore, betweenBefore] = [await receiver.call('cpuMicros'), cpuMicrosOf(between.pid)];
    const [{ cpuMicros }] = await Promise.all([
      publisher.call('publish', nodeLoad(turns)),
      ...groups.map((clients) => clients.call('finish')),
    ]);
    const received = (await receiver.call('cpuMicros')) - receiverBefore;
    const relayed = cpuMicrosOf(between.pid) - betweenBefore;
    const nanosPerMessage = (micros: number): number => (micros * 1000) / (turns * PER_TURN * CLIENTS);
    return {
      publisher: nanosPerMessage(cpuMicros),
      receiver: nanosPerMessage(received),
      all: nanosPerMessage(cpuMicros + received + relayed) / 2,
    };
  };
}

async function connect(
  clients: Remote<ClientCalls>,
  node: NodeCaller,
  controlPort: number,
  connections: number,
): Promise<void> {
  const port = await node.call('serve');
  await clients.call('connect', { port, controlPort, connections, compression: 'none', isSocketIo: false });
  const connected = await settled(() => node.call('connected'), connections, CONNECTED_MS);
  if (connected !== connections) throw new Error(`The node sees ${connected} of ${connections} clients`);
}

const TURN = { turnsPerAck: 1, window: 2, gapMs: 0 } as const;

const nodeLoad = (turns: number): RelayLoad => {
  return { ...TURN, bytes: BYTES, body: 'text', hasException: false, perTurn: PER_TURN, turns };
};

const clientLoad = (turns: number): Load => {
  const turn = Array.from({ length: PER_TURN }, () => 'broadcast' as const);
  return { ...TURN, turn, bytes: BYTES, body: 'text', turns, base: 0 };
};
