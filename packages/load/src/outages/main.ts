import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  Broker,
  CLIENT_CORE,
  markdown,
  nowMs,
  Remote,
  SERVER_CORE,
  settled,
  withProcesses,
} from '../harness/index.js';
import { claim, count, limitTime, main, type Claim } from '../run.js';
import {
  MESSAGES_PER_SECOND,
  type NodeReport,
  type OutageClientCalls,
  type OutageNodeCalls,
  type Received,
  type ReceivedInAll,
} from './calls.js';

const DEFAULT_SECONDS = '1,10,60';
/** How long traffic flows before each outage, and after the broker is back, in ms. */
const CALM_MS = 3_000;
const AFTER_MS = 4_000;
/** How long nodes may take until they are in the cluster, and in it again, in ms. */
const UP_MS = 15_000;
/** The time for everything but the outages: starts, normal traffic, and recovery. */
const SPARE_MS = 120_000;

/** From the time at which the clients of Redis are ready, in ms. */
const MAX_FIRST_MS = 1_000;
/** The defaults of the pool's options. */
const MAX_QUEUED_MS = 2_000;
/** The resolution of the cluster layer's times. */
const CLOCK_MS = 100;
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** Messages that may be on their way at any time: those of this time, in ms. */
const UNDER_WAY_MS = 50;
/** How much longer a local delivery may take while there is no broker, in ms. */
const MAX_DELAY_MS = 10;
/** The queue and what belongs to each batch in it; what a longer outage may add; and what may be left, in bytes. */
const MAX_OUTAGE_BYTES = 24 * 1024 * 1024;
const MAX_GROWTH_BYTES = 2 * 1024 * 1024;

/** One outage, as seen from all sides. */
interface Outage {
  readonly seconds: number;
  /** Messages that had been published when the broker was killed. */
  readonly publishedBefore: number;
  readonly sender: NodeReport;
  readonly receiver: NodeReport;
  readonly local: ReceivedInAll;
  readonly remote: ReceivedInAll;
  readonly localCalm: Received;
  readonly localMeanwhile: Received;
  /** The first relayed message after the outage: the time since the clients of Redis are ready, and how old it is. */
  readonly firstMs: number;
  readonly firstAgeMs: number;
  readonly memoryBytes: { readonly before: number; readonly meanwhile: number; readonly after: number };
  readonly queuedBytes: number;
}

/** Two nodes, and a client of each. */
interface Processes {
  readonly a: Remote<OutageNodeCalls>;
  readonly b: Remote<OutageNodeCalls>;
  readonly local: Remote<OutageClientCalls>;
  readonly remote: Remote<OutageClientCalls>;
}

async function outage(seconds: number): Promise<Outage> {
  const broker = await Broker.start('redis');
  try {
    return await withProcesses(async (started) => {
      const client = (): Remote<OutageClientCalls> =>
        started(new Remote(new URL('client.js', import.meta.url), { core: CLIENT_CORE }));
      const node = (core: number | undefined): Remote<OutageNodeCalls> =>
        started(new Remote(new URL('node.js', import.meta.url), { core, nodeArgs: ['--expose-gc'] }));
      const processes = { local: client(), remote: client(), a: node(SERVER_CORE), b: node(CLIENT_CORE) };
      await processes.local.call('connect', await processes.a.call('start', broker.port));
      await processes.remote.call('connect', await processes.b.call('start', broker.port));
      await untilUp(processes);
      return observe(seconds, broker, processes);
    });
  } finally {
    await broker.stop();
  }
}

async function observe(seconds: number, broker: Broker, processes: Processes): Promise<Outage> {
  const { a, b, local, remote } = processes;
  await a.call('publish');
  await delay(CALM_MS / 2);
  const before = await a.call('memoryBytes');
  await local.call('received');
  await delay(CALM_MS / 2);
  const localCalm = await local.call('received');
  const { published: publishedBefore } = await a.call('report');
  await broker.stop();
  await remote.call('watchForNext', nowMs());
  await delay(seconds * 1_000);
  const localMeanwhile = await local.call('received');
  const [queuedBytes, meanwhile] = [await a.call('queuedBytes'), await a.call('memoryBytes')];
  await broker.start();
  const hasCome = async (): Promise<boolean> => (await remote.call('next')) !== undefined;
  if (!(await settled(hasCome, true, UP_MS)))
    throw new Error(`Nothing came within ${UP_MS} ms after the outage`);
  await untilUp(processes);
  await delay(AFTER_MS);
  await a.call('stop');
  const { published } = await a.call('report');
  // Everything that is still on its way.
  for (const client of [local, remote]) {
    await settled(async () => (await client.call('receivedInAll')).last, published - 1, UP_MS);
  }
  const first = await remote.call('next');
  const [sender, receiver] = [await a.call('report'), await b.call('report')];
  return {
    seconds,
    publishedBefore,
    sender,
    receiver,
    local: await local.call('receivedInAll'),
    remote: await remote.call('receivedInAll'),
    localCalm,
    localMeanwhile,
    firstMs: (first?.atMs ?? NaN) - Math.max(sender.readyAtMs, receiver.readyAtMs),
    firstAgeMs: first?.ageMs ?? NaN,
    memoryBytes: { before, meanwhile, after: await a.call('memoryBytes') },
    queuedBytes,
  };
}

async function untilUp({ a, b }: Processes): Promise<void> {
  for (const node of [a, b]) {
    const state = await settled(() => node.call('state'), 'up', UP_MS);
    if (state !== 'up') throw new Error(`A node is ${state}`);
  }
}

const missing = ({ sender, remote }: Outage): number => sender.published - remote.messages;

/** Messages that were lost with the broker: published before the outage, and not delivered yet. */
function lostUnderWay({ publishedBefore, remote }: Outage): number {
  return remote.missing.reduce(
    (sum, [first, last]) => sum + Math.max(0, Math.min(last + 1, publishedBefore) - first),
    0,
  );
}

/**
 * How many messages the sender, if it is back first, may have published before the receiver is back, including its
 * queue.
 */
function unheard({ sender, receiver }: Outage): number {
  const aheadMs = receiver.recoveredAtMs - sender.recoveredAtMs;
  return aheadMs > 0 ? ((aheadMs + MAX_QUEUED_MS + CLOCK_MS) * MESSAGES_PER_SECOND) / 1_000 : 0;
}

const ms = (value: number): string => `${value.toFixed(1)} ms`;
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function judge(outage: Outage): Claim[] {
  const { seconds, sender, receiver, local, remote, localCalm, localMeanwhile, firstMs, firstAgeMs } = outage;
  const { memoryBytes, queuedBytes } = outage;
  const lost = missing(outage);
  const underWay = (UNDER_WAY_MS * MESSAGES_PER_SECOND) / 1_000;
  const [withBroker, beforeReceiver] = [lostUnderWay(outage), unheard(outage)];
  const of = (text: string): string => `${seconds} s: ${text}`;
  const delayMs = localMeanwhile.p99Ms - localCalm.p99Ms;
  const events = [sender.degraded, sender.recovered, receiver.degraded, receiver.recovered];
  return [
    claim(
      of(`the first relayed message arrives within ${MAX_FIRST_MS} ms after the clients of Redis are ready`),
      ms(firstMs),
      firstMs < MAX_FIRST_MS,
    ),
    claim(
      of(`it is not older than ${MAX_QUEUED_MS} ms, and a reconnect`),
      ms(firstAgeMs),
      firstAgeMs < 2 * MAX_QUEUED_MS,
    ),
    claim(
      of('what is missing was dropped, was lost with the broker, or came before the receiver was back'),
      `${count(lost)}: ${count(sender.dropped)}, ${count(withBroker)}, and at most ${count(beforeReceiver)}`,
      lost <= sender.dropped + withBroker + beforeReceiver,
    ),
    claim(
      of('what was counted as dropped is missing, apart from what was under way'),
      `${count(sender.dropped)} of ${count(lost)}`,
      sender.dropped <= lost + underWay,
    ),
    claim(
      of('the receiver has noticed that something is missing'),
      receiver.gaps,
      lost === 0 || receiver.gaps > 0,
    ),
    claim(
      of('nothing came twice or out of order'),
      remote.outOfOrder + receiver.invalid,
      remote.outOfOrder + receiver.invalid === 0,
    ),
    claim(
      of('the client of the sending node got everything, in order'),
      `${count(local.messages)} of ${count(sender.published)}`,
      local.messages === sender.published && local.outOfOrder === 0,
    ),
    claim(
      of(`its p99 is at most ${MAX_DELAY_MS} ms later than before`),
      ms(delayMs),
      delayMs <= MAX_DELAY_MS,
    ),
    claim(of('at most 4 MiB wait for the broker'), mib(queuedBytes), queuedBytes <= MAX_QUEUED_BYTES),
    claim(
      of('the sending node takes at most 24 MiB more meanwhile'),
      mib(memoryBytes.meanwhile - memoryBytes.before),
      memoryBytes.meanwhile - memoryBytes.before <= MAX_OUTAGE_BYTES,
    ),
    claim(
      of('and at most 2 MiB more afterwards'),
      mib(memoryBytes.after - memoryBytes.before),
      memoryBytes.after - memoryBytes.before <= MAX_GROWTH_BYTES,
    ),
    claim(
      of('each node has told once that it is degraded, and once that it has recovered'),
      events.join(', '),
      events.every((times) => times === 1),
    ),
  ];
}

/** A longer outage takes no more memory than one that is long enough to fill the queue. */
function judgeGrowth(outages: readonly Outage[]): Claim[] {
  const long = outages.filter(({ seconds }) => seconds * 1_000 > 2 * MAX_QUEUED_MS);
  const [first, last] = [long.at(0), long.at(-1)];
  if (first === undefined || last === undefined || first === last) return [];
  const [short, longest] = [first.memoryBytes.meanwhile, last.memoryBytes.meanwhile];
  const text = `${last.seconds} s take no more memory than ${first.seconds} s (2 MiB of tolerance)`;
  return [claim(text, `${mib(longest)} and ${mib(short)}`, longest - short <= MAX_GROWTH_BYTES)];
}

function print(outages: readonly Outage[]): void {
  const rows = outages.map((outage) => {
    const { seconds, sender, receiver, localCalm, localMeanwhile, firstMs, firstAgeMs, memoryBytes } = outage;
    return [
      `${seconds} s`,
      count(sender.published),
      count(missing(outage)),
      count(sender.dropped),
      count(receiver.gaps),
      ms(firstMs),
      ms(firstAgeMs),
      `${ms(localCalm.p99Ms)} and ${ms(localMeanwhile.p99Ms)}`,
      mib(memoryBytes.meanwhile - memoryBytes.before),
    ];
  });
  const columns = [
    'broker down for',
    'published',
    'missing',
    'dropped',
    'gaps (batches)',
    'first one after ready',
    'its age',
    'local p99 before and meanwhile',
    'memory meanwhile',
  ];
  const title = `Redis is killed at ${count(MESSAGES_PER_SECOND)} messages per second, and started again`;
  console.log(markdown({ title, notes: [], columns, rows }));
}

await main('outages', { isPinned: true }, async () => {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: DEFAULT_SECONDS } } });
  const all = values.seconds.split(',').map(Number);
  if (all.some((seconds) => !(seconds > 0)))
    throw new Error(`Expected --seconds to be like ${DEFAULT_SECONDS}`);
  limitTime(all.reduce((sum, seconds) => sum + seconds * 1_000 + SPARE_MS, 0));
  const outages: Outage[] = [];
  for (const seconds of all) {
    const startedAtMs = nowMs();
    outages.push(await outage(seconds));
    console.error(`  ${seconds} s: done after ${count(nowMs() - startedAtMs)} ms`);
  }
  print(outages);
  return [...outages.flatMap(judge), ...judgeGrowth(outages)];
});
