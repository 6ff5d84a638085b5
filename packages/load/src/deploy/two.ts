import { setTimeout as delay } from 'node:timers/promises';
import { Broker, withProcesses, type Remote } from '../harness/index.js';
import { claim, count, type Claim } from '../run.js';
import {
  CLIENTS,
  DRAIN_PER_SECOND,
  type ClientsReport,
  type NodeCalls,
  type NodeReport,
  type Way,
} from './calls.js';
import {
  areAllTold,
  compare,
  drawReconnects,
  failuresOf,
  latest,
  MAX_BACK_MS,
  type Reconnects,
} from './comparison.js';
import { startEntrance, startNode } from './processes.js';
import { peakPerSecond } from './sliding-window.js';

/** From the signal of node A to that of node B, in ms: before the first client of A is back. */
const SIGNAL_GAP_MS = 300;
/** What node C is to see at most, in reconnects per second: a tenth above the rate of the drain. */
const LIMIT_PER_SECOND = Math.round(DRAIN_PER_SECOND * 1.1);

interface Deploy {
  /** Nodes A and B, which are told to stop. */
  readonly stopped: readonly NodeReport[];
  /** Node C, which takes their clients over. */
  readonly next: NodeReport;
  readonly clients: ClientsReport;
  /** Clients of A and B before. */
  readonly moved: number;
  /** Connections that the balancer sent to A or B after their own signals. */
  readonly sentToStopped: number;
}

/** All clients are on nodes A, B and C. A is told to stop, and B right after it. */
function deploy(way: Way): Promise<Deploy> {
  return withProcesses(async (started) => {
    const redis = started(await Broker.start('redis'));
    const { clients, balancer, port } = await startEntrance(started);
    const start = (): Promise<Remote<NodeCalls>> => startNode(started, balancer, way, `${redis.port}`);
    const [a, b, c] = [await start(), await start(), await start()];
    await clients.call('connect', port);
    if (way === 'drain-in-cluster') for (const node of [a, b, c]) await node.call('company', 3);
    const before = await c.call('report');
    const moved = CLIENTS - before.connections;
    const pids = [await a.call('pid'), await b.call('pid')] as const;
    const back = clients.call('untilBack', moved, MAX_BACK_MS);
    process.kill(pids[0], 'SIGTERM');
    await delay(SIGNAL_GAP_MS);
    process.kill(pids[1], 'SIGTERM');
    const seen = await back;
    for (const node of [a, b]) await node.call('stopped');
    const stopped = [await a.call('report'), await b.call('report')];
    const next = await c.call('report');
    const routes = await balancer.call('report');
    const sentToStopped = stopped.reduce(
      (sum, { stopAtMs }, index) =>
        sum + (routes[index]?.sentAtMs ?? []).filter((atMs) => atMs > stopAtMs).length,
      0,
    );
    const acceptedAtMs = next.acceptedAtMs.slice(before.acceptedAtMs.length);
    return { stopped, next: { ...next, acceptedAtMs }, clients: seen, moved, sentToStopped };
  });
}

const closesOf = ({ stopped }: Deploy): number[] => stopped.flatMap(({ closesAtMs }) => closesAtMs);
const beganAtMs = ({ stopped }: Deploy): number => Math.min(...stopped.map(({ stopAtMs }) => stopAtMs));

function print(name: string, run: Deploy): void {
  const { stopped, next, clients, moved } = run;
  const since = (atMs: number): string => `${count(atMs - beganAtMs(run))} ms`;
  const [a, b] = stopped.map(({ closesAtMs }) => count(peakPerSecond(closesAtMs)));
  console.log(`${name}
  clients: ${count(moved)} on nodes A and B, ${count(CLIENTS - moved)} on node C
  closes in any one second, at most: ${count(peakPerSecond(closesOf(run)))} of both; ${a} of node A, ${b} of node B
  reconnects in any one second, at most: tried by clients ${count(peakPerSecond(clients.attemptsAtMs))}, accepted by node C ${count(peakPerSecond(next.acceptedAtMs))}
  since the first SIGTERM: last close ${since(latest(closesOf(run)))}, all back ${since(latest(next.acceptedAtMs))}
  close codes ${JSON.stringify(clients.codes)}, failures ${JSON.stringify(clients.failures)}
  longest stall of an event loop: ${stopped.map(({ stallMs }, index) => `node ${'AB'[index]} ${count(stallMs)} ms`).join(', ')}, node C ${count(next.stallMs)} ms, clients ${count(clients.stallMs)} ms
`);
}

function judge(shared: Deploy, alone: Deploy): Claim[] {
  const { stopped, next, clients, moved, sentToStopped } = shared;
  const closes = peakPerSecond(closesOf(shared));
  const reconnects = peakPerSecond(next.acceptedAtMs);
  const failures = failuresOf(clients);
  const closed = stopped.reduce((sum, { drained }) => sum + (drained?.closed ?? 0), 0);
  const aloneCloses = peakPerSecond(closesOf(alone));
  return [
    claim(
      `Nodes A and B together close at most ${DRAIN_PER_SECOND} in any one second`,
      closes,
      closes <= DRAIN_PER_SECOND,
    ),
    claim(
      `Node C sees at most ${LIMIT_PER_SECOND} reconnects in any one second`,
      reconnects,
      reconnects <= LIMIT_PER_SECOND,
    ),
    claim(
      'Each client of A and B gets one 1012 and nothing else, and those of C get nothing',
      JSON.stringify(clients.codes),
      areAllTold(clients, moved),
    ),
    claim('Nobody is sent to a node after its signal', sentToStopped, sentToStopped === 0),
    claim('No reconnect fails, or is closed again', failures, failures === 0),
    claim('All are on node C', next.connections, next.connections === CLIENTS),
    claim('The reports of the drains add up', `${closed} closed`, closed === moved),
    claim(
      'Without a cluster, the two close more than one rate together',
      aloneCloses,
      aloneCloses > DRAIN_PER_SECOND,
    ),
  ];
}

function draw(shared: Deploy, alone: Deploy): void {
  const reconnects = (name: string, run: Deploy): Reconnects => ({
    name,
    stopAtMs: beganAtMs(run),
    acceptedAtMs: run.next.acceptedAtMs,
  });
  drawReconnects(
    'deploy-of-two.svg',
    {
      title: 'Reconnects that node C has accepted within the last second',
      time: 'seconds since node A was told to stop; node B was told 0.3 s later',
      limit: LIMIT_PER_SECOND,
      limitText: `a tenth above the rate: ${LIMIT_PER_SECOND}`,
    },
    [
      reconnects(`${DRAIN_PER_SECOND} per second, shared`, shared),
      reconnects(`${DRAIN_PER_SECOND} per second each`, alone),
    ],
  );
}

await compare('deploy-two', {
  ways: [
    ['In a cluster', 'drain-in-cluster'],
    ['Each by itself', 'drain'],
  ],
  deploy,
  print,
  draw,
  judge,
});
