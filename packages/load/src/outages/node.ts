import { Connection, ConnectionsPool } from '@soketi/connections';
import { redisAdapter } from '@soketi/connections-redis';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from 'redis';
import { WebSocketServer } from 'ws';
import { answer, nowMs } from '../harness/index.js';
import { MESSAGES_PER_SECOND, type OutageNodeCalls } from './calls.js';

const NAMESPACE = 'all';
/** As often as the resolution of timers allows, in ms. */
const EVERY_MS = 1;
const COLLECTIONS = 4;

let pool: ConnectionsPool;
let published = 0;
let readyAtMs = NaN;
let recoveredAtMs = NaN;
let degraded = 0;
let recovered = 0;
let timer: NodeJS.Timeout | undefined;

async function join(brokerPort: number): Promise<void> {
  const client = createClient({ socket: { host: '127.0.0.1', port: brokerPort } });
  // An outage is expected here; without a listener it would end the process.
  client.on('error', () => undefined);
  client.on('ready', () => (readyAtMs = nowMs()));
  await client.connect();
  pool = new ConnectionsPool({ adapter: redisAdapter({ client }) });
  pool.on('degraded', () => degraded++);
  pool.on('recovered', () => {
    recovered++;
    recoveredAtMs = nowMs();
  });
}

/** Sends what a late timer has missed. */
function publishDue(startedAtMs: number): void {
  const due = ((nowMs() - startedAtMs) * MESSAGES_PER_SECOND) / 1_000;
  while (published < due) void pool.broadcastMessage(NAMESPACE, `${published++} ${nowMs()}`);
}

answer({
  async start(brokerPort) {
    await join(brokerPort);
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    let id = 0;
    server.on('connection', (socket) => {
      void pool.newConnection(new Connection(String(id++), NAMESPACE, socket));
    });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  state: () => pool.cluster.state,
  publish() {
    const startedAtMs = nowMs() - (published * 1_000) / MESSAGES_PER_SECOND;
    timer = setInterval(publishDue, EVERY_MS, startedAtMs);
  },
  stop() {
    clearInterval(timer);
  },
  async memoryBytes() {
    for (let times = 0; times < COLLECTIONS; times++) {
      globalThis.gc?.();
      await delay(10);
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  },
  queuedBytes: () => pool.cluster.stats().queuedBytes,
  report() {
    const { dropped, gaps, duplicates, invalid } = pool.cluster.stats();
    return { published, dropped, gaps, duplicates, invalid, readyAtMs, recoveredAtMs, degraded, recovered };
  },
} satisfies OutageNodeCalls);
