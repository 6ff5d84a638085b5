import { Connection, ConnectionsPool, type WebSocketMessage } from '@soketi/connections';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import { answer, memoryAtRest } from '../harness/index.js';
import type { ScaleServerCalls, Stretch } from './calls.js';

/** The server process that holds all connections. */
type Member = Connection<number, WebSocketMessage, WebSocket>;

const NAMESPACE = 'all';
/** Finer than the delays that are to be found. */
const RESOLUTION_MS = 1;
/** The settings of `heartbeat: true`. */
const PING_INTERVAL_MS = 30_000;
/** Between two bursts of the plain loop: as rare as those of the pool. */
const BURST_GAP_MS = 1_000;

let pool = new ConnectionsPool<WebSocketMessage, Member>();
const sockets: WebSocket[] = [];

async function listen({ heartbeat }: { heartbeat: boolean }): Promise<number> {
  pool = new ConnectionsPool({ heartbeat });
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 4096 });
  server.on('connection', (socket) => {
    void pool.newConnection(new Connection(sockets.push(socket), NAMESPACE, socket));
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** CPU and pings of a period, and its delays if requested: measuring them costs CPU. */
async function measure(
  work: () => Promise<unknown>,
  histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS }),
): Promise<Stretch> {
  const { pings } = pool.stats();
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpuBefore);
  const tookMs = performance.now() - startedAt;
  histogram.disable();
  return {
    cpu: (user + system) / 1000 / tookMs,
    tookMs,
    pings: pool.stats().pings - pings,
    p50Ms: histogram.percentile(50) / 1e6,
    p99Ms: histogram.percentile(99) / 1e6,
    maxMs: histogram.max / 1e6,
  };
}

function measureDelays(work: () => Promise<unknown>): Promise<Stretch> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return measure(work, histogram);
}

/** @returns how many pings were sent */
async function pingAll(ms: number): Promise<number> {
  const perBurst = Math.ceil((sockets.length * BURST_GAP_MS) / PING_INTERVAL_MS);
  let pings = 0;
  const timer = setInterval(() => {
    for (let ping = 0; ping < perBurst; ping++) sockets[pings++ % sockets.length]?.ping();
  }, BURST_GAP_MS);
  await delay(ms);
  clearInterval(timer);
  return pings;
}

answer({
  listen,
  connected: () => pool.stats().connections,
  memory: memoryAtRest,
  idleCpu: (ms) => measure(() => delay(ms)),
  async bareCpu(ms) {
    let pings = 0;
    const stretch = await measure(async () => {
      pings = await pingAll(ms);
    });
    return { ...stretch, pings };
  },
  idle: (ms) => measureDelays(() => delay(ms)),
  broadcast: ({ times, gapMs, bytes }) =>
    measureDelays(async () => {
      const text = 'x'.repeat(bytes);
      for (let time = 0; time < times; time++) {
        await pool.broadcastMessage(NAMESPACE, text);
        await delay(gapMs);
      }
    }),
  async drain(pace) {
    let report = { closed: 0, terminated: 0, left: 0 };
    const stretch = await measureDelays(async () => {
      report = await pool.drainConnections(pace);
    });
    const { closed, terminated, left } = report;
    return { ...stretch, closed, terminated, left };
  },
  lost: () => pool.stats().heartbeatsLost,
} satisfies ScaleServerCalls);
