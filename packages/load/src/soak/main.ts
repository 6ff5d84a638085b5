import { parseArgs } from 'node:util';
import { CLIENT_CORE, median, nowMs, Remote, SERVER_CORE, withProcesses } from '../harness/index.js';
import { claim, count, limitTime, main, positive, type Claim } from '../run.js';
import {
  POOLS,
  type PoolName,
  type Rest,
  type Seen,
  type SoakClientsCalls,
  type SoakServerCalls,
} from './calls.js';

const DEFAULT_MINUTES = 10;
/** Between two rests, in each of which everything is counted, in ms. */
const ROUND_MS = 10_000;
/** How far the last third of the heaps may exceed the first: what a JIT and its profiles still add. */
const MAX_GROWTH_BYTES = 512 * 1024;
/** Timers of Node.js itself that come and go: those of the HTTP server and its date. */
const SPARE_TIMEOUTS = 3;
/** Time in addition to the requested minutes, in which everybody leaves, in ms. */
const SPARE_MS = 120_000;

/** `queryObjects` warns that it is experimental. */
const SERVER_OPTIONS = ['--expose-gc', '--disable-warning=ExperimentalWarning'];

interface Round {
  readonly rest: Rest;
  readonly seen: Readonly<Record<PoolName, Seen>>;
}

/** Rounds of load, and of rest. The first one warms up. */
function soak(minutes: number): Promise<{ idle: Rest; rounds: Round[] }> {
  return withProcesses(async (started) => {
    const clients = started(
      new Remote<SoakClientsCalls>(new URL('clients.js', import.meta.url), { core: CLIENT_CORE }),
    );
    const server = started(
      new Remote<SoakServerCalls>(new URL('server.js', import.meta.url), {
        core: SERVER_CORE,
        nodeArgs: SERVER_OPTIONS,
      }),
    );
    const port = await server.call('listen');
    const idle = await server.call('rest');
    const rounds: Round[] = [];
    const endMs = nowMs() + minutes * 60_000;
    while (nowMs() < endMs) {
      await server.call('start');
      const seen = await clients.call('run', { port, ms: ROUND_MS });
      await server.call('stop');
      const rest = await server.call('rest');
      rounds.push({ rest, seen });
      const { messagesSent } = rest.pools.steady;
      console.error(
        `  round ${rounds.length}: heap ${count(rest.heapBytes)}, steady sent ${count(messagesSent)}`,
      );
    }
    return { idle, rounds };
  });
}

/** Whether both are equal, and what they are. */
function same(text: string, left: number, right: number): Claim {
  return claim(text, left === right ? count(left) : `${count(left)} and ${count(right)}`, left === right);
}

function judgeCounters({ rest: { pools }, seen }: Round): Claim[] {
  const { steady, lossy, strict } = pools;
  const isClean = ({ codes }: Seen): boolean => !('1006' in codes) && !('1005' in codes);
  return [
    ...POOLS.flatMap((name) => [
      same(`${name}: who joined has left`, pools[name].joined, pools[name].left),
      same(`${name}: who joined is who connected`, pools[name].joined, seen[name].opened),
      same(
        `${name}: \`messagesSent\` is what the calls said`,
        pools[name].messagesSent,
        pools[name].sentByResults,
      ),
      same(`${name}: \`dropped\` is what the calls said`, pools[name].dropped, pools[name].droppedByResults),
      same(
        `${name}: \`slowReaders\` is the number of events`,
        pools[name].slowReaders,
        pools[name].slowEvents,
      ),
    ]),
    same('steady: clients received what was sent', steady.messagesSent, seen.steady.received),
    same('steady: the server received what clients sent', steady.received, seen.steady.sent),
    same('steady: none missing between two', seen.steady.missing, 0),
    same('steady: replaced is what clients were told', steady.replaced, seen.steady.codes['4409'] ?? 0),
    same('lossy: clients received what was sent', lossy.messagesSent, seen.lossy.received),
    claim(
      'lossy: what is missing was dropped',
      `${count(seen.lossy.missing)} of ${count(lossy.dropped)}`,
      lossy.dropped > 0 && seen.lossy.missing <= lossy.dropped,
    ),
    claim(
      'strict: nobody received what was not sent',
      `${count(seen.strict.received)} of ${count(strict.messagesSent)}`,
      seen.strict.received <= strict.messagesSent,
    ),
    claim('strict: slow readers were closed', strict.slowReaders, strict.slowReaders > 0),
    claim(
      'steady and lossy: every close is clean',
      `${JSON.stringify(seen.steady.codes)} and ${JSON.stringify(seen.lossy.codes)}`,
      isClean(seen.steady) && isClean(seen.lossy),
    ),
    ...(['steady', 'lossy'] as const).map((name) =>
      same(
        `${name}: no error, lost heartbeat or termination`,
        pools[name].errors + pools[name].heartbeatsLost + pools[name].terminated,
        0,
      ),
    ),
  ];
}

function judgeRests(idle: Rest, rounds: readonly Round[]): Claim[] {
  const rests = rounds.map(({ rest }) => rest);
  const most = (read: (rest: Rest) => number): number => Math.max(...rests.map(read));
  const timeouts = most(({ objects }) => objects.Timeout);
  const isSame = rests.every(({ resources }) => JSON.stringify(resources) === JSON.stringify(idle.resources));
  return [
    ...judgeHeap(rests),
    same(
      'No connection or namespace is left in a pool',
      most((rest) => rest.connections + rest.namespaces),
      0,
    ),
    same(
      'No `Connection` is left on the heap',
      most(({ objects }) => objects.Connection),
      0,
    ),
    same(
      'No `WebSocket` is left on the heap',
      most(({ objects }) => objects.WebSocket),
      0,
    ),
    claim(
      'No timer is left on the heap',
      `${timeouts}, before the first client ${idle.objects.Timeout}`,
      timeouts <= idle.objects.Timeout + SPARE_TIMEOUTS,
    ),
    claim('Nothing more keeps the process alive', JSON.stringify(rests.at(-1)?.resources), isSame),
    same(
      'No listener is left',
      most((rest) => rest.listeners),
      idle.listeners,
    ),
    claim(
      'No event of a socket gathers listeners',
      `at most ${most((rest) => rest.maxListenersOfSocket)}`,
      most((rest) => rest.maxListenersOfSocket) <= 2,
    ),
  ];
}

function judgeHeap(rests: readonly Rest[]): Claim[] {
  const heaps = rests.slice(1).map(({ heapBytes }) => heapBytes);
  const third = Math.floor(heaps.length / 3);
  if (third === 0) return [claim('The heap is flat', 'too few rounds to tell', false)];
  const first = median(heaps.slice(0, third));
  const last = median(heaps.slice(-third));
  const text = `The heap is flat: the last third at most ${MAX_GROWTH_BYTES / 1024} KiB above the first`;
  return [claim(text, `${count(first)} and ${count(last)} bytes`, last - first <= MAX_GROWTH_BYTES)];
}

await main('soak', { isPinned: true }, async () => {
  const { values } = parseArgs({ options: { minutes: { type: 'string' } } });
  const minutes = positive('minutes', values.minutes, DEFAULT_MINUTES);
  limitTime(minutes * 60_000 + SPARE_MS);
  const { idle, rounds } = await soak(minutes);
  const last = rounds.at(-1) as Round;
  console.log(`${rounds.length} rounds of ${ROUND_MS / 1000} s under load`);
  return [...judgeRests(idle, rounds), ...judgeCounters(last)];
});
