import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { WebSocket } from 'ws';
import type { Loopback } from './loopback.js';
import { onTestFinished } from './on-test-finished.js';

/**
 * What a client sends to upgrade (RFC 6455 §4.1).
 *
 * @param extensions what it offers, e.g. `permessage-deflate; server_no_context_takeover`
 */
export function upgradeRequest(extensions = ''): string {
  return [
    'GET / HTTP/1.1',
    'Host: 127.0.0.1',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(extensions === '' ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
    '\r\n',
  ].join('\r\n');
}

/** A client that upgrades and then ignores everything: it never answers a close frame. */
export interface MutePair {
  readonly client: net.Socket;
  readonly socket: WebSocket;
}

/** Connects such a client. It reads, so that nothing waits in the server, but it answers nothing. */
export async function connectMute({ server }: Loopback): Promise<MutePair> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  onTestFinished(() => void client.destroy());
  client.resume();
  client.write(upgradeRequest());
  const [socket] = await accepted;
  return { client, socket };
}
