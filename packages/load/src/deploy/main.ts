import { percentile, withProcesses } from '../harness/index.js';
import { claim, count, type Claim } from '../run.js';
import {
  CLIENTS,
  DRAIN_PER_SECOND,
  LIMIT_PER_SECOND,
  type ClientsReport,
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
    const { clients, balancer, port } = await startEntrance(started);
    const a = await startNode(started, balancer, way);
    await clients.call('connect', port);
    const b = await startNode(started, balancer, way);
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
  console.log(`${name}
  closes in any one second, at most: begun on node A ${count(peakPerSecond(old.closesAtMs))}, seen by clients ${count(peakPerSecond(clients.closedAtMs))}
  reconnects in any one second, at most: tried by clients ${count(peakPerSecond(clients.attemptsAtMs))}, accepted by node B ${count(peakPerSecond(next.acceptedAtMs))}
  since SIGTERM: readiness seen by the balancer after ${since(unreadyAtMs)}, first close ${since(first(clients.closedAtMs))}, first reconnect ${since(first(clients.attemptsAtMs))}, last close ${since(latest(clients.closedAtMs))}, all back ${since(latest(next.acceptedAtMs))}
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
  const failures = failuresOf(clients);
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
      areAllTold(clients, CLIENTS),
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
  const reconnects = (name: string, { old, next }: Deploy): Reconnects => ({
    name,
    stopAtMs: old.stopAtMs,
    acceptedAtMs: next.acceptedAtMs,
  });
  drawReconnects(
    'rolling-deploy.svg',
    {
      title: 'Reconnects that node B has accepted within the last second',
      time: 'seconds since node A was told to stop',
      limit: LIMIT_PER_SECOND,
      limitText: `what node B is to see at most: ${LIMIT_PER_SECOND}`,
    },
    [
      reconnects(`drained at ${DRAIN_PER_SECOND} per second`, drained),
      reconnects('ws, all closed at once', atOnce),
    ],
  );
}

await compare('deploy', {
  ways: [
    ['This library', 'drain'],
    ['`ws`, all at once', 'all-at-once'],
  ],
  deploy,
  print,
  draw,
  judge,
});
