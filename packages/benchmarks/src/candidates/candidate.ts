import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { WebSocketServer, type PerMessageDeflateOptions } from 'ws';
import type { KindName } from '../kinds.js';
import type { Compression, ServerSettings } from '../settings.js';
import type { Peer, Server } from './server.js';

/** A server library under measurement. */
export interface Candidate {
  /** The module that is imported: the version of its package is reported. */
  readonly module: string;
  /** It speaks its own protocol over WebSockets. */
  readonly isSocketIo?: boolean;
  /** Messages that it has no call for. */
  readonly cannot?: readonly KindName[];
  start(settings: StartSettings): Promise<Server>;
}

export interface StartSettings extends Omit<ServerSettings, 'reaction'> {
  /** Takes each connection and returns who gets its messages; omitted if nobody listens to any. */
  readonly accept: ((peer: Peer) => (text: string) => void) | undefined;
}

/** The number that a client has put in its request. */
export function idOf(url: string | undefined): number {
  return Number(/[?&]id=(\d+)/.exec(url ?? '')?.[1]);
}

/** @returns the port */
export async function listen(server: NetServer): Promise<number> {
  // Exclusive: in a worker of node:cluster, the port would otherwise be shared with the other workers.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096, exclusive: true });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** The option of `ws` for it; everything else stays at its default. */
export function deflateOption(compression: Compression): PerMessageDeflateOptions | false {
  return compression === 'none' ? false : { serverNoContextTakeover: compression === 'stateless' };
}

export async function webSocketServer(
  compression: Compression,
): Promise<{ server: WebSocketServer; port: number }> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, perMessageDeflate: deflateOption(compression) });
  return { server, port: await listen(http) };
}
