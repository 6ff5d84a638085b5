import { Connection, ConnectionsPool } from '@soketi/connections';
import { pbkdf2, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { answer, cpuMs, nowMs } from '../harness/index.js';
import type { CompressionServerCalls, Stream } from './calls.js';

/** The server process. Its clients keep no compression context, so one compression serves all of them. */
const NAMESPACE = 'all';
/** Takes a thread of the pool for about 100 ms. */
const HASH_ITERATIONS = 200_000;
const CLOSE_CODE_SLOW = 1013;

const pool = new ConnectionsPool();
let closedAsSlow = 0;
let isHashing = false;
pool.on('disconnection', (_connection, code) => {
  if (code === CLOSE_CODE_SLOW) closedAsSlow++;
});
pool.on('slow', () => closedAsSlow++);

/** Text that compresses to about a third. */
function makeText(bytes: number): string {
  const words = Array.from({ length: 200 }, () => randomBytes(4).toString('hex'));
  let text = '';
  while (text.length < bytes) text += `${words[Math.floor(Math.random() * words.length)]} `;
  return text.slice(0, bytes);
}

function hash(): void {
  if (isHashing) pbkdf2('password', 'salt', HASH_ITERATIONS, 64, 'sha512', hash);
}

async function stream({ bytes, everyMs, hashes, ms }: Stream): Promise<number> {
  const text = makeText(bytes);
  isHashing = true;
  for (let i = 0; i < hashes; i++) hash();
  let sent = 0;
  await new Promise<void>((resolve) => {
    const startedAtMs = performance.now();
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - startedAtMs;
      // A late timer sends what is due, because the rate is what is measured.
      for (; sent < elapsedMs / everyMs && elapsedMs < ms; sent++) {
        void pool.broadcastMessage(NAMESPACE, `${nowMs()} ${text}`);
      }
      if (elapsedMs < ms) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
  isHashing = false;
  return sent;
}

answer({
  async listen() {
    const perMessageDeflate = { serverNoContextTakeover: true, threshold: 0 };
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate });
    let id = 0;
    server.on('connection', (socket) => {
      void pool.newConnection(new Connection(String(id++), NAMESPACE, socket));
    });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  connected: () => pool.namespace(NAMESPACE).size,
  stream,
  closedAsSlow: () => closedAsSlow,
  compressed: () => pool.stats().compressedMessages,
  cpuMs,
} satisfies CompressionServerCalls);
