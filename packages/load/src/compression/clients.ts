import { once } from 'node:events';
import { WebSocket } from 'ws';
import { answer, nowMs, percentile } from '../harness/index.js';
import type { CompressionClientsCalls } from './calls.js';

/** The process of all clients. */
let received = 0;
let latenciesMs: number[] = [];

answer({
  async connect({ port, clients }) {
    const opened = Array.from({ length: clients }, async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, {
        perMessageDeflate: { serverNoContextTakeover: true },
      });
      socket.on('error', () => undefined);
      socket.on('message', (data: Buffer) => {
        received++;
        latenciesMs.push(nowMs() - Number(data.subarray(0, data.indexOf(' ')).toString()));
      });
      await once(socket, 'open');
    });
    await Promise.all(opened);
  },
  received: () => received,
  latency() {
    const sorted = latenciesMs.sort((a, b) => a - b);
    latenciesMs = [];
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
  },
} satisfies CompressionClientsCalls);
