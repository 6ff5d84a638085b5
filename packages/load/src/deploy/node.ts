import { Connection, ConnectionsPool, gracefulShutdown, type WebSocketMessage } from '@soketi/connections';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { answer, nowMs } from '../harness/index.js';
import { watchStalls } from '../run.js';
import { DRAIN_PER_SECOND, type NodeCalls, type NodeReport, type Way } from './calls.js';

/** A server process behind the balancer: `node node.js WAY`. SIGTERM stops it. */
const way = process.argv[2] as Way;

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

if (way === 'drain') serveWithLibrary();
else serveWithWsAlone();

/** Writes down when its close begins. */
class Member extends Connection<number, WebSocketMessage, WebSocket> {
  override close(code?: number, reason?: string): Promise<void> {
    if (!this.closed) closesAtMs.push(nowMs());
    return super.close(code, reason);
  }
}

function serveWithLibrary(): void {
  const pool = new ConnectionsPool<WebSocketMessage, Member>({ heartbeat: true });
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Member(acceptedAtMs.length, 'all', socket));
  });
  const drain = { maxPerSecond: DRAIN_PER_SECOND, jitter: 0.3 };
  const lifecycle = gracefulShutdown({ server, webSocketServer, pool, drain, signals: ['SIGTERM'] });
  isReady = () => lifecycle.isReady;
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
