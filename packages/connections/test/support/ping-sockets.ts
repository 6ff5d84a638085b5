import { afterEach } from 'vitest';
import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { MemorySocket } from './memory-socket.js';

export const INTERVAL_MS = 10_000;

const connections: Connection[] = [];

/** Ends the connections of each test that have joined by `join`. */
export function terminateAfterEach(): void {
  afterEach(() => {
    for (const connection of connections.splice(0)) connection.terminate();
  });
}

/** Answers pings unless told otherwise, and records when they came. */
export class PingSocket extends MemorySocket {
  readonly pingedAtMs: number[] = [];
  answersPings = true;

  ping(): void {
    this.pingedAtMs.push(performance.now());
    if (this.answersPings) queueMicrotask(() => this.emit('pong'));
  }
}

/** A pool that pings. */
export function newPool(options: ConnectionsPoolOptions<Connection> = {}): ConnectionsPool {
  return new ConnectionsPool({ heartbeat: { interval: INTERVAL_MS, timeout: 5_000 }, ...options });
}

export function join<S extends MemorySocket>(pool: ConnectionsPool, socket: S, id = '1'): S {
  const connection = new Connection(id, 'default', socket);
  connections.push(connection);
  void pool.newConnection(connection);
  return socket;
}

export function joinMany(pool: ConnectionsPool, count: number, from = 0): PingSocket[] {
  return Array.from({ length: count }, (_, index) => join(pool, new PingSocket(), String(from + index)));
}
