import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { answer, nowMs } from '../harness/index.js';
import type { EchoCalls } from './calls.js';

/** The client whose echo is measured. Each message carries the time at which it was due. */
const MAX_WAIT_MS = 10_000;

let socket: WebSocket | undefined;
let latenciesMs: number[] = [];
let pending = 0;

answer({
  async connect(port) {
    socket = new WebSocket(`ws://127.0.0.1:${port}`);
    socket.on('message', (data: Buffer) => {
      pending--;
      latenciesMs.push(nowMs() - Number(data.toString()));
    });
    await once(socket, 'open');
  },
  async measure({ ms, everyMs }) {
    latenciesMs = [];
    const startedAtMs = nowMs();
    for (let sent = 0; sent * everyMs < ms; sent++) {
      await delay(startedAtMs + sent * everyMs - nowMs());
      pending++;
      socket?.send(String(nowMs()));
    }
    const untilMs = nowMs() + MAX_WAIT_MS;
    while (pending > 0 && nowMs() < untilMs) await delay(5);
    if (pending > 0) throw new Error(`${pending} messages were not echoed`);
    return latenciesMs;
  },
} satisfies EchoCalls);
