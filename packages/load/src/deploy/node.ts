import {
  Connection,
  ConnectionsPool,
  gracefulShutdown,
  type ClusterAdapter,
  type WebSocketMessage,
} from '@soketi/connections';
import { redisAdapter } from '@soketi/connections-redis';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { createClient } from 'redis';
import { answer, nowMs, settled } from '../harness/index.js';
import { watchStalls } from '../run.js';
import { DRAIN_PER_SECOND, type NodeCalls, type NodeReport, type Way } from './calls.js';

/** How long the nodes may take until they know each other, in ms. */
const MAX_COMPANY_MS = 10_000;

/** The process of a server that is reached through the balancer: `node node.js WAY REDIS_PORT`. SIGTERM stops it. */
const [way, redisPort] = process.argv.slice(2) as [Way, string | undefined];

const acceptedAtMs: number[] = [];
const closesAtMs: number[] = [];
let stopAtMs = 0;
let drained: NodeReport['drained'];
let isReady = (): boolean => true;

const server = createServer((_request, response) => {
  response.writeHead(isReady() ? 200 : 503).end();
});
const webSocketServer = new WebSocketServer({ server });
webSocketServer.on('connection', () => acceptedAtMs.push(nowMs()));
process.once('SIGTERM', () => (stopAtMs = nowMs()));

/** How many nodes of the cluster have connections. */
let company = (): number => 0;

if (way === 'all-at-once') serveWithWsAlone();
else serveWithLibrary(way === 'drain-in-cluster' ? await connectToCluster() : undefined);

/** Records when its close begins. */
class Member extends Connection<string, WebSocketMessage, WebSocket> {
  override close(code?: number, reason?: string): Promise<void> {
    if (!this.closed) closesAtMs.push(nowMs());
    return super.close(code, reason);
  }
}

async function connectToCluster(): Promise<ClusterAdapter> {
  const client = createClient({ url: `redis://127.0.0.1:${redisPort}` });
  // The pool emits its errors here; at the end Redis is stopped first.
  client.on('error', () => undefined);
  await client.connect();
  // Otherwise it would keep the process of the last node alive.
  client.unref();
  return redisAdapter({ client });
}

function serveWithLibrary(adapter: ClusterAdapter | undefined): void {
  const pool = new ConnectionsPool<WebSocketMessage, Member>({ heartbeat: true, adapter });
  company = () => [...pool.cluster.nodes.values()].filter(({ connections }) => connections > 0).length;
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Member(`${process.pid}:${acceptedAtMs.length}`, 'all', socket));
  });
  const drain = { maxPerSecond: DRAIN_PER_SECOND, jitter: 0.3 };
  const lifecycle = gracefulShutdown({ server, webSocketServer, pool, drain, signals: ['SIGTERM'] });
  isReady = () => lifecycle.isReady;
  // A shutdown lets the process end, but it is still to report.
  void lifecycle.closed.then(() => setImmediate(() => process.channel?.ref()));
  pool.on('drain', ({ closed, terminated, left }) => (drained = { closed, terminated, left }));
}

function serveWithWsAlone(): void {
  process.once('SIGTERM', () => {
    isReady = () => false;
    for (const client of webSocketServer.clients) {
      closesAtMs.push(nowMs());
      client.close(1012);
    }
    server.close();
  });
}

const closed = once(server, 'close');
const stalls = watchStalls();

answer({
  async listen() {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  pid: () => process.pid,
  async company(nodes) {
    if ((await settled(company, nodes, MAX_COMPANY_MS)) !== nodes)
      throw new Error('The nodes do not know each other');
  },
  async stopped() {
    await closed;
  },
  report: () => ({
    stopAtMs,
    closesAtMs,
    acceptedAtMs,
    drained,
    connections: webSocketServer.clients.size,
    stallMs: stalls.maxMs(),
  }),
} satisfies NodeCalls);
