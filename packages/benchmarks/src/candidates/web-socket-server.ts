import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type PerMessageDeflateOptions } from 'ws';
import type { Compression } from '../load.js';

/** The option of `ws` for it; everything else stays at its default. */
export function deflateOption(compression: Compression): PerMessageDeflateOptions | false {
  return compression === 'none' ? false : { serverNoContextTakeover: compression === 'stateless' };
}

export async function webSocketServer(
  compression: Compression,
): Promise<{ server: WebSocketServer; port: number }> {
  const perMessageDeflate = deflateOption(compression);
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate, backlog: 4096 });
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}
