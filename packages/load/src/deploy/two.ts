import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Broker, Remote, withProcesses } from '../harness/index.js';
import { claim, count, limitTime, main, type Claim } from '../run.js';
import {
  CLIENTS,
  DRAIN_PER_SECOND,
  type BalancerCalls,
  type ClientsCalls,
  type ClientsReport,
  type NodeCalls,
  type NodeReport,
  type Way,
} from './calls.js';
import { lineChart } from './chart.js';
import { peakPerSecond, perSecondOverTime } from './sliding-window.js';

/** From the signal of node A to that of node B, in ms: before the first client of A is back. */
const SIGNAL_GAP_MS = 300;
/** What node C is to see at most, in reconnects per second: a tenth above the rate of the drain. */
const LIMIT_PER_SECOND = Math.round(DRAIN_PER_SECOND * 1.1);
/** How long all clients may take to be back, in ms. */
const MAX_BACK_MS = 30_000;
const MAX_RUN_MS = 150_000;
const CHART = new URL('../../docs/deploy-of-two.svg', import.meta.url);
const CHART_STEP_MS = 50;
/** A second after the last reconnect the rate is 0 again. */
const CHART_TAIL_MS = 1_100;

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
    const clients = started(new Remote<ClientsCalls>(new URL('clients.js', import.meta.url)));
    const balancer = started(new Remote<BalancerCalls>(new URL('balancer.js', import.meta.url)));
    const port = await balancer.call('listen');
    const nodes: Remote<NodeCalls>[] = [];
    for (let index = 0; index < 3; index++) {
      const args = [way, `${redis.port}`];
      const node = started(new Remote<NodeCalls>(new URL('node.js', import.meta.url), { args }));
      nodes.push(node);
      await balancer.call('add', await node.call('listen'));
    }
    const [a, b, c] = nodes as [Remote<NodeCalls>, Remote<NodeCalls>, Remote<NodeCalls>];
    await clients.call('connect', port);
    if (way === 'drain-in-cluster') for (const node of nodes) await node.call('company', nodes.length);
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
const last = (timesMs: readonly number[]): number => timesMs.reduce((a, b) => Math.max(a, b), 0);

function print(name: string, run: Deploy): void {
  const { stopped, next, clients, moved } = run;
  const since = (atMs: number): string => `${count(atMs - beganAtMs(run))} ms`;
  const [a, b] = stopped.map(({ closesAtMs }) => count(peakPerSecond(closesAtMs)));
  console.log(`${name}
  clients: ${count(moved)} on nodes A and B, ${count(CLIENTS - moved)} on node C
  closes in any one second, at most: ${count(peakPerSecond(closesOf(run)))} of both; ${a} of node A, ${b} of node B
  reconnects in any one second, at most: tried by clients ${count(peakPerSecond(clients.attemptsAtMs))}, accepted by node C ${count(peakPerSecond(next.acceptedAtMs))}
  since the first SIGTERM: last close ${since(last(closesOf(run)))}, all back ${since(last(next.acceptedAtMs))}
  close codes ${JSON.stringify(clients.codes)}, failures ${JSON.stringify(clients.failures)}
  longest stall of an event loop: ${stopped.map(({ stallMs }, index) => `node ${'AB'[index]} ${count(stallMs)} ms`).join(', ')}, node C ${count(next.stallMs)} ms, clients ${count(clients.stallMs)} ms
`);
}

function judge(shared: Deploy, alone: Deploy): Claim[] {
  const { stopped, next, clients, moved, sentToStopped } = shared;
  const closes = peakPerSecond(closesOf(shared));
  const reconnects = peakPerSecond(next.acceptedAtMs);
  const failures = Object.values(clients.failures).reduce((sum, times) => sum + times, 0);
  const isClean = clients.codes['1012'] === moved && Object.keys(clients.codes).length === 1;
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
      isClean,
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
  const durationMs =
    Math.max(...[shared, alone].map((run) => last(run.next.acceptedAtMs) - beganAtMs(run))) + CHART_TAIL_MS;
  const points = (run: Deploy) =>
    perSecondOverTime(run.next.acceptedAtMs, {
      fromMs: beganAtMs(run),
      toMs: beganAtMs(run) + durationMs,
      stepMs: CHART_STEP_MS,
    });
  const chart = lineChart(
    {
      title: 'Reconnects that node C has accepted within the last second',
      time: 'seconds since node A was told to stop; node B was told 0.3 s later',
      limit: LIMIT_PER_SECOND,
      limitText: `a tenth above the rate: ${LIMIT_PER_SECOND}`,
    },
    [
      { name: `${DRAIN_PER_SECOND} per second, shared`, color: '#2f81f7', points: points(shared) },
      { name: `${DRAIN_PER_SECOND} per second each`, color: '#d9822b', points: points(alone) },
    ],
  );
  mkdirSync(new URL('.', CHART), { recursive: true });
  writeFileSync(CHART, chart);
}

await main('deploy-two', { isPinned: false }, async () => {
  limitTime(MAX_RUN_MS);
  const shared = await deploy('drain-in-cluster');
  print('In a cluster', shared);
  const alone = await deploy('drain');
  print('Each by itself', alone);
  draw(shared, alone);
  return judge(shared, alone);
});
