import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { Connection, type ConnectionsPool } from '../../src/index.js';
import type { Loopback, Pair } from './loopback.js';

/** The TCP or TLS socket below a `ws` socket. */
export function tcpOf(socket: WebSocket): Socket {
  return (socket as unknown as { _socket: Socket })._socket;
}

/** The end of this turn, and everything that it schedules for the next one. */
export async function endTurn(): Promise<void> {
  await nextTurn();
  await nextTurn();
}

export interface Member extends Pair {
  readonly id: string;
  readonly connection: Connection;
}

/** Connects one client and adds it to the pool. */
export async function member(
  pool: ConnectionsPool,
  loopback: Loopback,
  id: string,
  { namespace = 'default', ...options }: { namespace?: string } & Parameters<Loopback['pair']>[0] = {},
): Promise<Member> {
  const pair = await loopback.pair(options);
  const connection = new Connection(id, namespace, pair.socket);
  await pool.newConnection(connection);
  return { id, connection, ...pair };
}

/** Connects clients 'a', 'b', 'c', … and adds them to the pool. */
export async function members(pool: ConnectionsPool, loopback: Loopback, count: number): Promise<Member[]> {
  const all: Member[] = [];
  for (let i = 0; i < count; i++)
    all.push(await member(pool, loopback, String.fromCharCode('a'.charCodeAt(0) + i)));
  return all;
}

/** Every chunk that `ws` or the library writes into the socket from now on. */
export function spyWrites(socket: WebSocket): Buffer[] {
  const tcp = tcpOf(socket);
  const chunks: Buffer[] = [];
  const write = tcp.write.bind(tcp) as (chunk: Buffer, ...rest: unknown[]) => boolean;
  tcp.write = (chunk: Buffer, ...rest: unknown[]) => {
    chunks.push(chunk);
    return write(chunk, ...rest);
  };
  return chunks;
}

/** How often the socket was asked to write: a `writev` of many chunks is one. */
export function spySystemWrites(socket: WebSocket): { count: number } {
  const tcp = tcpOf(socket);
  const seen = { count: 0 };
  for (const name of ['_write', '_writev'] as const) {
    const original = tcp[name]?.bind(tcp) as ((...args: unknown[]) => void) | undefined;
    tcp[name] = (...args: unknown[]) => {
      seen.count++;
      original?.(...args);
    };
  }
  return seen;
}

/** A message as a short text for comparisons: short text as it is, everything else as a hash. */
export function digest(message: string | Uint8Array): string {
  const kind = typeof message === 'string' ? 'text' : 'binary';
  const { length } = message;
  if (kind === 'text' && length <= 100) return message as string;
  return `${kind} ${length} ${createHash('sha1').update(message).digest('hex')}`;
}
