import { formatPercent, markdown, Remote, settled, withProcesses } from '../harness/index.js';
import { claim, count, limitTime, main, type Claim } from '../run.js';
import type { CompressionClientsCalls, CompressionServerCalls, Stream } from './calls.js';

const CLIENTS = 20;
const STREAM_MS = 5_000;
/** How long the last message may be on its way, in ms. */
const ARRIVAL_MS = 15_000;
const MAX_RUN_MS = 180_000;
/** A message waits at most 50 ms for its compression; the rest is for the wire and the clients. */
const MAX_P50_MS = 100;

const STREAMS: readonly Omit<Stream, 'ms'>[] = [
  { bytes: 32 * 1024, everyMs: 5, hashes: 0 },
  { bytes: 32 * 1024, everyMs: 5, hashes: 8 },
  { bytes: 16 * 1024, everyMs: 1, hashes: 0 },
  { bytes: 64 * 1024, everyMs: 4, hashes: 0 },
  { bytes: 64 * 1024, everyMs: 2, hashes: 0 },
];

interface Measured {
  readonly stream: Omit<Stream, 'ms'>;
  readonly sent: number;
  readonly received: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly closedAsSlow: number;
  /** Broadcasts that were compressed, of those that were sent. */
  readonly compressedShare: number;
  /** Of one core, until the last message has arrived. */
  readonly serverShare: number;
  readonly clientsShare: number;
}

function measure(stream: Omit<Stream, 'ms'>): Promise<Measured> {
  return withProcesses(async (started) => {
    const clients = started(new Remote<CompressionClientsCalls>(new URL('clients.js', import.meta.url)));
    const server = started(new Remote<CompressionServerCalls>(new URL('server.js', import.meta.url)));
    const port = await server.call('listen');
    await clients.call('connect', { port, clients: CLIENTS });
    await settled(() => server.call('connected'), CLIENTS, ARRIVAL_MS);
    const cpuMs = (): Promise<[number, number]> => Promise.all([server.call('cpuMs'), clients.call('cpuMs')]);
    const [before, startedAtMs] = [await cpuMs(), performance.now()];
    const sent = await server.call('stream', { ...stream, ms: STREAM_MS });
    const received = await settled(() => clients.call('received'), sent * CLIENTS, ARRIVAL_MS);
    const [after, tookMs] = [await cpuMs(), performance.now() - startedAtMs];
    const latency = await clients.call('latency');
    return {
      stream,
      sent,
      received,
      ...latency,
      closedAsSlow: await server.call('closedAsSlow'),
      compressedShare: (await server.call('compressed')) / sent,
      serverShare: (after[0] - before[0]) / tookMs,
      clientsShare: (after[1] - before[1]) / tookMs,
    };
  });
}

async function run(): Promise<readonly Claim[]> {
  limitTime(MAX_RUN_MS);
  const all: Measured[] = [];
  for (const stream of STREAMS) all.push(await measure(stream));
  console.log(
    markdown({
      title: 'Compression of large messages, 20 clients without context',
      notes: [
        'CPU in percent of one core, threads included. Clients that take a core or more limit what is measured.',
      ],
      columns: [
        'stream',
        'messages',
        'p50',
        'p99',
        'compressed',
        'server CPU',
        'clients CPU',
        'closed as slow',
      ],
      rows: all.map(({ stream, ...measured }) => [
        describe(stream),
        count(measured.sent),
        `${count(measured.p50Ms)} ms`,
        `${count(measured.p99Ms)} ms`,
        formatPercent(measured.compressedShare),
        formatPercent(measured.serverShare),
        formatPercent(measured.clientsShare),
        count(measured.closedAsSlow),
      ]),
    }),
  );
  return all.flatMap(({ stream, sent, received, p50Ms, closedAsSlow }) => [
    claim(`${describe(stream)}: every message arrives`, received, received === sent * CLIENTS),
    claim(`${describe(stream)}: p50 below ${MAX_P50_MS} ms`, p50Ms, p50Ms < MAX_P50_MS),
    claim(`${describe(stream)}: nobody is closed as a slow reader`, closedAsSlow, closedAsSlow === 0),
  ]);
}

function describe({ bytes, everyMs, hashes }: Omit<Stream, 'ms'>): string {
  const busy = hashes > 0 ? `, ${hashes} password hashes at a time` : '';
  return `${bytes / 1024} KiB every ${everyMs} ms${busy}`;
}

await main('compression', { isPinned: false }, run);
