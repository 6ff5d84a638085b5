import { once } from 'node:events';
import { WebSocket } from 'ws';
import { answer, nowMs, settled } from '../harness/index.js';
import { watchStalls } from '../run.js';
import { BACKOFF_JITTER, BACKOFF_MS, CLIENTS, type ClientsCalls, type ClientsReport } from './calls.js';

/** Handshakes under way at a time while the clients first connect. */
const MAX_HANDSHAKES = 100;
/** The exponent above which the delay does not grow. */
const MAX_DOUBLINGS = 5;

/** Clients that reconnect when they are closed, like those of a real application. */
const codes: Record<string, number> = {};
const failures: Record<string, number> = {};
const closedAtMs: number[] = [];
const attemptsAtMs: number[] = [];
const handshakesMs: number[] = [];
let port = 0;
const stalls = watchStalls();
let back = 0;

const increment = (counts: Record<string, number>, key: string): void => {
  counts[key] = (counts[key] ?? 0) + 1;
};

async function connectFirst(): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  await once(socket, 'open');
  socket.on('close', (code) => {
    closedAtMs.push(nowMs());
    increment(codes, String(code));
    reconnectLater(0);
  });
  socket.on('error', ({ message }) => increment(failures, message));
}

function reconnectLater(failed: number): void {
  const leastMs = BACKOFF_MS * 2 ** Math.min(failed, MAX_DOUBLINGS);
  setTimeout(() => reconnect(failed), leastMs * (1 + BACKOFF_JITTER * Math.random()));
}

function reconnect(failed: number): void {
  const atMs = nowMs();
  if (failed === 0) attemptsAtMs.push(atMs);
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  let isOpen = false;
  socket.on('open', () => {
    isOpen = true;
    back++;
    handshakesMs.push(nowMs() - atMs);
  });
  socket.on('error', ({ message }) => increment(failures, message));
  socket.on('close', (code) => {
    if (isOpen) {
      back--;
      increment(failures, `Closed again with ${code}`);
    }
    reconnectLater(failed + 1);
  });
}

const report = (): ClientsReport => ({
  codes,
  failures,
  closedAtMs,
  attemptsAtMs,
  handshakesMs,
  stallMs: stalls.maxMs(),
});

answer({
  async connect(balancerPort) {
    port = balancerPort;
    for (let first = 0; first < CLIENTS; first += MAX_HANDSHAKES) {
      const length = Math.min(MAX_HANDSHAKES, CLIENTS - first);
      await Promise.all(Array.from({ length }, connectFirst));
    }
  },
  async untilBack(clients, maxMs) {
    stalls.restart();
    await settled(() => back, clients, maxMs);
    return report();
  },
} satisfies ClientsCalls);
