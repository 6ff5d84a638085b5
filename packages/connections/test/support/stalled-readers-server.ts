import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { WebSocketServer, type WebSocket } from 'ws';
import { Connection, ConnectionsPool } from '../../src/index.js';

/** A program: a server that sends messages of one character to clients that read nothing, until each is a slow reader. */
export interface Memory {
  /** Messages that wait. */
  readonly waiting: number;
  /** Clients that have reached the bound. */
  readonly slowReaders: number;
  /** Growth of the heap and of array buffers after a forced collection. */
  readonly grownBytes: number;
}

const [readers, maxBufferedBytes, maxMessages] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
];
/** Messages are sent in turns of this many. */
const PER_TURN = 100;
/** All clients get the same bytes first: filling the kernel's buffers then costs nothing here. */
const FILLER = Buffer.alloc(64 * 1024);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

async function usedBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await nextTurn();
    collect();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Sends until the kernel accepts no more. */
async function fillKernel(socket: WebSocket): Promise<void> {
  while (socket.bufferedAmount === 0) {
    socket.send(FILLER);
    await nextTurn();
  }
}

/** @returns how many messages were accepted */
async function sendUntilSlow(connection: Connection): Promise<number> {
  let taken = 0;
  while (taken < maxMessages) {
    const sent = await Promise.all(Array.from({ length: PER_TURN }, () => connection.send('x')));
    taken += sent.filter(Boolean).length;
    if (sent.includes(false)) break;
  }
  return taken;
}

const pool = new ConnectionsPool({ maxBufferedBytes, onSlow: 'drop' });
const connections: Connection[] = [];
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('listening', () => process.send!((server.address() as AddressInfo).port));
server.on('connection', (socket) => {
  const connection = new Connection(String(connections.length), 'default', socket);
  void pool.newConnection(connection);
  connections.push(connection);
  if (connections.length === readers) void measure([...server.clients]);
});

async function measure(sockets: readonly WebSocket[]): Promise<void> {
  for (const socket of sockets) await fillKernel(socket);
  const before = await usedBytes();
  let waiting = 0;
  for (const connection of connections) waiting += await sendUntilSlow(connection);
  const grownBytes = (await usedBytes()) - before;
  process.send!({ waiting, slowReaders: pool.stats().slowReaders, grownBytes } satisfies Memory);
}
