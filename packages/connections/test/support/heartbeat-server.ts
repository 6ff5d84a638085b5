import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';

/** A program: a server whose pool pings, and which stalls on request. */
export interface Order {
  /** Stalls once for that long, after the next ping. */
  readonly stallMs?: number;
  /** Reports the next ping. */
  readonly tellPing?: true;
}

const [interval, timeout] = process.argv.slice(2).map(Number) as [number, number];
const pool = new ConnectionsPool({ heartbeat: { interval, timeout } });
const codes: number[] = [];
let onPing: (() => void) | undefined;
let joined = 0;

const tell = (message: unknown): unknown => process.send!(message);

function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('listening', () => tell((server.address() as AddressInfo).port));
server.on('connection', (socket) => {
  const ping = socket.ping.bind(socket);
  socket.ping = () => {
    ping();
    onPing?.();
    onPing = undefined;
  };
  const connection = new Connection(String(joined++), 'default', socket);
  connection.on('close', (code) => codes.push(code));
  void pool.newConnection(connection);
});

process.on('message', ({ stallMs, tellPing }: Order) => {
  if (stallMs !== undefined) {
    // After the pings of this tick, and before anything can be read: the answers arrive while nothing is read.
    onPing = () =>
      queueMicrotask(() => {
        stall(stallMs);
        tell('stalled');
      });
  } else if (tellPing) {
    onPing = () => tell('pinged');
  } else {
    tell({ stats: pool.stats(), codes });
  }
});
