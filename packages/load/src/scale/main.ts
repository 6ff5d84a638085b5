import { parseArgs } from 'node:util';
import {
  CLIENT_CORE,
  markdown,
  maxOpenFiles,
  Remote,
  SERVER_CORE,
  settled,
  withProcesses,
  type Memory,
} from '../harness/index.js';
import { claim, count, limitTime, main, positive, type Claim } from '../run.js';
import type { DrainPace, ScaleClientsCalls, ScaleServerCalls, Stretch } from './calls.js';

/** Descriptors that a process needs for itself. */
const OWN_DESCRIPTORS = 256;
/** Above this number, the limit of open files no longer matters. */
const MAX_CONNECTIONS = 50_000;
/** Twice the interval of the heartbeat. */
const DEFAULT_IDLE_SECONDS = 60;
const MAX_RUN_MS = 600_000;
/** How long the last message or close may be on its way, in ms. */
const ARRIVAL_MS = 15_000;

const BROADCASTS = { times: 15, gapMs: 1_000, bytes: 64 };
const DRAIN_PER_SECOND = 2_000;
/** The default, and finer slices. */
const DRAIN_INTERVALS_MS = { plain: 10, heartbeats: 100 };

const MAX_HEARTBEAT_CPU = 0.01;
const MAX_DRAIN_P99_MS = 20;

interface Settings {
  readonly connections: number;
  readonly idleMs: number;
}

type Drained = Awaited<ReturnType<ScaleServerCalls['drain']>>;

/** One server with all its connections, from start to end. */
interface Life {
  readonly memory: Memory;
  readonly idleCpu: Stretch;
  /** Without heartbeats only. */
  readonly bareCpu: Stretch | undefined;
  readonly idle: Stretch;
  readonly broadcast: Stretch;
  readonly received: number;
  readonly drain: Drained;
  readonly codes: Readonly<Record<string, number>>;
  readonly lost: number;
}

function live(heartbeat: boolean, drain: DrainPace, { connections, idleMs }: Settings): Promise<Life> {
  return withProcesses(async (started) => {
    const clients = started(
      new Remote<ScaleClientsCalls>(new URL('clients.js', import.meta.url), { core: CLIENT_CORE }),
    );
    const server = started(
      new Remote<ScaleServerCalls>(new URL('server.js', import.meta.url), {
        core: SERVER_CORE,
        nodeArgs: ['--expose-gc'],
      }),
    );
    const port = await server.call('listen', { heartbeat });
    const empty = await server.call('memory');
    console.error(`  heartbeats ${heartbeat ? 'on' : 'off'}: connecting ${connections} clients`);
    await clients.call('connect', { port, connections });
    const connected = await settled(() => server.call('connected'), connections, ARRIVAL_MS);
    if (connected !== connections) throw new Error(`The server sees ${connected} connections`);
    const full = await server.call('memory');
    const idleCpu = await server.call('idleCpu', idleMs);
    const bareCpu = heartbeat ? undefined : await server.call('bareCpu', idleMs);
    const idle = await server.call('idle', idleMs);
    const broadcast = await server.call('broadcast', BROADCASTS);
    const wanted = BROADCASTS.times * connections;
    const received = await settled(() => clients.call('received'), wanted, ARRIVAL_MS);
    const drained = await server.call('drain', drain);
    const clean = (): Promise<number> => clients.call('closed').then((codes) => codes['1012'] ?? 0);
    await settled(clean, connections, ARRIVAL_MS);
    return {
      memory: {
        heapBytes: (full.heapBytes - empty.heapBytes) / connections,
        rssBytes: (full.rssBytes - empty.rssBytes) / connections,
      },
      idleCpu,
      bareCpu,
      idle,
      broadcast,
      received,
      drain: drained,
      codes: await clients.call('closed'),
      lost: await server.call('lost'),
    };
  });
}

const ms = (value: number): string => value.toFixed(1);
const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;

function print(connections: number, off: Life, on: Life): void {
  const row = (name: string, { cpu, p50Ms, p99Ms, maxMs }: Stretch): string[] => [
    name,
    percent(cpu),
    ms(p50Ms),
    ms(p99Ms),
    ms(maxMs),
  ];
  const rows = [
    row('idle, heartbeats off', off.idle),
    row('idle, heartbeats every 30 s', on.idle),
    row(`${BROADCASTS.bytes} bytes to all once a second, heartbeats off`, off.broadcast),
    row(`${BROADCASTS.bytes} bytes to all once a second, heartbeats on`, on.broadcast),
    row(
      `drain at ${DRAIN_PER_SECOND}/s, a slice every ${DRAIN_INTERVALS_MS.heartbeats} ms (default)`,
      on.drain,
    ),
    row(`drain at ${DRAIN_PER_SECOND}/s, a slice every ${DRAIN_INTERVALS_MS.plain} ms`, off.drain),
  ];
  const columns = ['server', 'CPU of one core', 'delay p50, ms', 'p99, ms', 'max, ms'];
  const notes = [
    `Bytes per connection: heap ${count(off.memory.heapBytes)}, RSS ${count(off.memory.rssBytes)}; with heartbeats ` +
      `heap ${count(on.memory.heapBytes)}, RSS ${count(on.memory.rssBytes)}.`,
    `Idle without measuring delays: ${percent(off.idleCpu.cpu)} of one core without heartbeats, ` +
      `${percent(on.idleCpu.cpu)} with them (${count(on.idleCpu.pings)} pings in ${count(on.idleCpu.tookMs / 1000)} s); ` +
      `a plain loop over \`ws.ping()\` ${percent(off.bareCpu?.cpu ?? NaN)} (${count(off.bareCpu?.pings ?? NaN)} pings).`,
    `Drained in ${count(on.drain.tookMs)} ms and ${count(off.drain.tookMs)} ms.`,
  ];
  console.log(markdown({ title: `${count(connections)} connections in one process`, notes, columns, rows }));
}

function judge(connections: number, off: Life, on: Life): Claim[] {
  const heartbeatCpu = on.idleCpu.cpu - off.idleCpu.cpu;
  const isClean = ({ drain, codes }: Life): boolean =>
    codes['1012'] === connections &&
    Object.keys(codes).length === 1 &&
    drain.closed === connections &&
    drain.terminated + drain.left === 0;
  const wanted = BROADCASTS.times * connections;
  return [
    claim(
      'Heartbeats add less than 1 % of one core',
      percent(heartbeatCpu),
      heartbeatCpu < MAX_HEARTBEAT_CPU,
    ),
    ...([on, off] as const).map(({ drain }, index) =>
      claim(
        `Delay p99 under ${MAX_DRAIN_P99_MS} ms while draining, ${index ? 'fine slices' : 'as by default'}`,
        `${ms(drain.p99Ms)} ms`,
        drain.p99Ms < MAX_DRAIN_P99_MS,
      ),
    ),
    claim('No heartbeat is lost', on.lost, on.lost === 0),
    claim(
      'Every broadcast reaches every client',
      `${count(off.received)} and ${count(on.received)} of ${count(wanted)}`,
      off.received === wanted && on.received === wanted,
    ),
    claim(
      'Every client gets a 1012 and nothing else',
      `${JSON.stringify(off.codes)} and ${JSON.stringify(on.codes)}`,
      isClean(off) && isClean(on),
    ),
  ];
}

function readSettings(): Settings {
  const { values } = parseArgs({
    options: { connections: { type: 'string' }, 'idle-seconds': { type: 'string' } },
  });
  const most = Math.min(MAX_CONNECTIONS, maxOpenFiles() - OWN_DESCRIPTORS);
  const seconds = positive('idle-seconds', values['idle-seconds'], DEFAULT_IDLE_SECONDS);
  return {
    connections: Math.min(positive('connections', values.connections, most), most),
    idleMs: seconds * 1000,
  };
}

await main('scale', { isPinned: true }, async () => {
  const settings = readSettings();
  limitTime(MAX_RUN_MS + 5 * settings.idleMs);
  const pace = (interval: number): DrainPace => ({ maxPerSecond: DRAIN_PER_SECOND, interval });
  const off = await live(false, pace(DRAIN_INTERVALS_MS.plain), settings);
  const on = await live(true, pace(DRAIN_INTERVALS_MS.heartbeats), settings);
  print(settings.connections, off, on);
  return judge(settings.connections, off, on);
});
