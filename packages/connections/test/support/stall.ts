import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, type ConnectionsPool } from '../../src/index.js';
import { tcpOf } from './engine.js';
import type { Loopback } from './loopback.js';
import { WireClient } from './wire.js';

/** More than the kernel buffers for a client that reads nothing, in bytes. */
export const MORE_THAN_KERNEL = 16 * 1024 * 1024;

/** Fills the kernel's buffers for a client that does not read, until bytes wait in the process. */
export async function stall(socket: WebSocket): Promise<void> {
  const tcp = tcpOf(socket);
  tcp.cork();
  socket.send(Buffer.alloc(MORE_THAN_KERNEL));
  tcp.uncork();
  await nextTurn();
  expect(socket.bufferedAmount).toBeGreaterThan(0);
}

/** Adds a client to the pool that has stopped reading. */
export async function stalledMember(
  pool: ConnectionsPool,
  loopback: Loopback,
  id: string,
): Promise<{ readonly socket: WebSocket; readonly connection: Connection }> {
  const { client, socket } = await WireClient.connect(loopback);
  client.pause();
  const connection = new Connection(id, 'default', socket);
  await pool.newConnection(connection);
  await stall(socket);
  return { socket, connection };
}

/** The chunks that wait in the socket, except the one that is being written. */
export function waitingIn(socket: WebSocket): Buffer[] {
  const tcp = tcpOf(socket) as unknown as { _writableState: { getBuffer(): { chunk: Buffer }[] } };
  return tcp._writableState.getBuffer().map(({ chunk }) => chunk);
}
