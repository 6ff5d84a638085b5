import { once } from 'node:events';
import { WebSocket } from 'ws';
import { answer } from '../harness/index.js';
import type { ScaleClientsCalls } from './calls.js';

/** The process of all clients. */
const codes: Record<string, number> = {};
let received = 0;

/** Handshakes under way at a time: below any backlog. */
const MAX_HANDSHAKES = 200;
/** Clients per source address: fewer than there are ephemeral ports (Linux: 28,232). */
const CLIENTS_PER_ADDRESS = 5_000;

async function open(port: number, id: number): Promise<void> {
  const localAddress = `127.0.0.${2 + Math.floor(id / CLIENTS_PER_ADDRESS)}`;
  // `ws` answers pings and close frames by itself.
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { localAddress, perMessageDeflate: false });
  await once(socket, 'open');
  socket.on('message', () => received++);
  socket.on('error', () => undefined);
  socket.on('close', (code) => {
    codes[code] = (codes[code] ?? 0) + 1;
  });
}

answer({
  async connect({ port, connections }) {
    for (let first = 0; first < connections; first += MAX_HANDSHAKES) {
      const length = Math.min(MAX_HANDSHAKES, connections - first);
      await Promise.all(Array.from({ length }, (_, index) => open(port, first + index)));
    }
  },
  received: () => received,
  closed: () => codes,
} satisfies ScaleClientsCalls);
