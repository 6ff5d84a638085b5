import { mkdirSync, writeFileSync } from 'node:fs';
import { percentile, Remote, withProcesses } from '../harness/index.js';
import { claim, count, limitTime, main, type Claim } from '../run.js';
import {
  CLIENTS,
  DRAIN_PER_SECOND,
  LIMIT_PER_SECOND,
  type BalancerCalls,
  type ClientsCalls,
  type ClientsReport,
  type NodeCalls,
  type NodeReport,
  type Way,
} from './calls.js';
import { lineChart } from './chart.js';
import { peakPerSecond, perSecondOverTime } from './sliding-window.js';

/** How long all clients may take to be back, in ms. */
const MAX_BACK_MS = 30_000;
const MAX_RUN_MS = 150_000;
const CHART = new URL('../../docs/rolling-deploy.svg', import.meta.url);
const CHART_STEP_MS = 50;
/** A second after the last reconnect the rate is 0 again. */
const CHART_TAIL_MS = 1_100;

interface Deploy {
  readonly old: NodeReport;
  readonly next: NodeReport;
  readonly clients: ClientsReport;
  /** When the balancer noticed that the old node is not ready. */
  readonly unreadyAtMs: number;
  /** Connections that the balancer sent to the old node although its signal had come. */
  readonly sentToOld: number;
}

/**
 * One rolling deploy: all clients are on node A, node B becomes ready, node A is told to stop. Nothing is pinned: of
 * five processes on two cores none is to wait for another one's core.
 */
function deploy(way: Way): Promise<Deploy> {
  return withProcesses(async (started) => {
    const clients = started(new Remote<ClientsCalls>(new URL('clients.js', import.meta.url)));
    const balancer = started(new Remote<BalancerCalls>(new URL('balancer.js', import.meta.url)));
    const a = started(new Remote<NodeCalls>(new URL('node.js', import.meta.url), { args: [way] }));
    const port = await balancer.call('listen');
    await balancer.call('add', await a.call('listen'));
    await clients.call('connect', port);
    const b = started(new Remote<NodeCalls>(new URL('node.js', import.meta.url), { args: [way] }));
    await balancer.call('add', await b.call('listen'));
    const pid = await a.call('pid');
    const back = clients.call('untilBack', CLIENTS, MAX_BACK_MS);
    process.kill(pid, 'SIGTERM');
    const seen = await back;
    await a.call('stopped');
    const old = await a.call('report');
    const [routes] = await balancer.call('report');
    return {
      old,
      next: await b.call('report'),
      clients: seen,
      unreadyAtMs: routes?.unreadyAtMs ?? Infinity,
      sentToOld: (routes?.sentAtMs ?? []).filter((atMs) => atMs > old.stopAtMs).length,
    };
  });
}

function print(name: string, { old, next, clients, unreadyAtMs }: Deploy): void {
  const since = (atMs: number): string => `${count(atMs - old.stopAtMs)} ms`;
  const first = (timesMs: readonly number[]): number => timesMs.reduce((a, b) => Math.min(a, b), Infinity);
  const last = (timesMs: readonly number[]): number => timesMs.reduce((a, b) => Math.max(a, b), 0);
  console.log(`${name}
  closes in any one second, at most: begun on node A ${count(peakPerSecond(old.closesAtMs))}, seen by clients ${count(peakPerSecond(clients.closedAtMs))}
  reconnects in any one second, at most: tried by clients ${count(peakPerSecond(clients.attemptsAtMs))}, accepted by node B ${count(peakPerSecond(next.acceptedAtMs))}
  since SIGTERM: readiness seen by the balancer after ${since(unreadyAtMs)}, first close ${since(first(clients.closedAtMs))}, first reconnect ${since(first(clients.attemptsAtMs))}, last close ${since(last(clients.closedAtMs))}, all back ${since(last(next.acceptedAtMs))}
  close codes ${JSON.stringify(clients.codes)}, failures ${JSON.stringify(clients.failures)}
  handshake with node B: p50 ${percentile(clients.handshakesMs, 0.5).toFixed(1)} ms, p99 ${percentile(clients.handshakesMs, 0.99).toFixed(1)} ms, max ${percentile(clients.handshakesMs, 1).toFixed(1)} ms
  longest stall of an event loop: node A ${count(old.stallMs)} ms, node B ${count(next.stallMs)} ms, clients ${count(clients.stallMs)} ms
`);
}

function judge(drained: Deploy, atOnce: Deploy): Claim[] {
  const { old, next, clients } = drained;
  const closes = peakPerSecond(old.closesAtMs);
  const reconnects = peakPerSecond(next.acceptedAtMs);
  const stormed = peakPerSecond(atOnce.next.acceptedAtMs);
  const firstAttemptMs = Math.min(...clients.attemptsAtMs);
  const failures = Object.values(clients.failures).reduce((sum, times) => sum + times, 0);
  const isClean = clients.codes['1012'] === CLIENTS && Object.keys(clients.codes).length === 1;
  const { closed, terminated, left } = old.drained ?? { closed: 0, terminated: 0, left: 0 };
  return [
    claim(`Node A closes at most ${DRAIN_PER_SECOND} in any one second`, closes, closes <= DRAIN_PER_SECOND),
    claim(
      `Node B sees at most ${LIMIT_PER_SECOND} reconnects in any one second`,
      reconnects,
      reconnects <= LIMIT_PER_SECOND,
    ),
    claim(
      `All ${count(CLIENTS)} clients get a 1012 and nothing else`,
      JSON.stringify(clients.codes),
      isClean,
    ),
    claim(
      'The balancer knows before the first client comes back',
      `${count(firstAttemptMs - drained.unreadyAtMs)} ms before`,
      drained.unreadyAtMs < firstAttemptMs,
    ),
    claim('Nobody is sent to node A after its signal', drained.sentToOld, drained.sentToOld === 0),
    claim('No reconnect fails, or is closed again', failures, failures === 0),
    claim('All are back on node B', next.connections, next.connections === CLIENTS),
    claim(
      'The report of the drain adds up',
      `${closed} closed, ${terminated} terminated, ${left} left`,
      closed === CLIENTS && terminated === 0 && left === 0,
    ),
    claim('With `ws` closing all at once, node B sees more', stormed, stormed > LIMIT_PER_SECOND),
  ];
}

function draw(drained: Deploy, atOnce: Deploy): void {
  const durationMs =
    Math.max(
      ...[drained, atOnce].map(({ next, old }) => (next.acceptedAtMs.at(-1) ?? old.stopAtMs) - old.stopAtMs),
    ) + CHART_TAIL_MS;
  const points = ({ next, old: { stopAtMs } }: Deploy) =>
    perSecondOverTime(next.acceptedAtMs, {
      fromMs: stopAtMs,
      toMs: stopAtMs + durationMs,
      stepMs: CHART_STEP_MS,
    });
  const chart = lineChart(
    {
      title: 'Reconnects that node B has accepted within the last second',
      time: 'seconds since node A was told to stop',
      limit: LIMIT_PER_SECOND,
      limitText: `what node B is to see at most: ${LIMIT_PER_SECOND}`,
    },
    [
      { name: `drained at ${DRAIN_PER_SECOND} per second`, color: '#2f81f7', points: points(drained) },
      { name: 'ws, all closed at once', color: '#d9822b', points: points(atOnce) },
    ],
  );
  mkdirSync(new URL('.', CHART), { recursive: true });
  writeFileSync(CHART, chart);
}

await main('deploy', { isPinned: false }, async () => {
  limitTime(MAX_RUN_MS);
  const drained = await deploy('drain');
  print('This library', drained);
  const atOnce = await deploy('all-at-once');
  print('`ws`, all at once', atOnce);
  draw(drained, atOnce);
  return judge(drained, atOnce);
});
