import { once } from 'node:events';
import { WebSocket } from 'ws';
import { answer, nowMs, percentile } from '../harness/index.js';
import type { OutageClientCalls } from './calls.js';

/** One client, in its own process so that nothing delays it. Each message carries its number and the time. */
let agesMs: number[] = [];
let messages = 0;
let last = -1;
let outOfOrder = 0;
const missing: [first: number, last: number][] = [];
/** The next message that was sent after this time is recorded. */
let sentAfterMs = Infinity;
let next: { readonly atMs: number; readonly ageMs: number } | undefined;

function onMessage(data: Buffer): void {
  const atMs = nowMs();
  const [number = NaN, sentAtMs = NaN] = data.toString().split(' ').map(Number);
  const ageMs = atMs - sentAtMs;
  if (sentAtMs > sentAfterMs) {
    next = { atMs, ageMs };
    sentAfterMs = Infinity;
  }
  if (number <= last) outOfOrder++;
  if (number > last + 1) missing.push([last + 1, number - 1]);
  last = number;
  messages++;
  agesMs.push(ageMs);
}

answer({
  async connect(port) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    socket.on('message', onMessage);
    socket.on('close', () => {
      throw new Error('The server has closed a client');
    });
    await once(socket, 'open');
  },
  received() {
    const received = agesMs;
    agesMs = [];
    const [p50Ms, p99Ms, maxMs] = [0.5, 0.99, 1].map((share) => percentile(received, share));
    return { p50Ms, p99Ms, maxMs } as Record<'p50Ms' | 'p99Ms' | 'maxMs', number>;
  },
  receivedInAll: () => ({ messages, last, missing, outOfOrder }),
  watchForNext(momentMs) {
    next = undefined;
    sentAfterMs = momentMs;
  },
  next: () => next,
} satisfies OutageClientCalls);
