import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { maskedTextFrame } from './frames.js';
import type { ClientSettings, Compression } from './settings.js';

/** All sockets read into this buffer: its content is processed before the next read. */
const shared = Buffer.allocUnsafeSlow(256 * 1024);

const OFFERS: Record<Compression, string> = {
  none: '',
  takeover: 'Sec-WebSocket-Extensions: permessage-deflate\r\n',
  stateless: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n',
};

/** Engine.IO opens its session by itself; this joins the namespace of Socket.IO, and `40{…}` confirms it. */
const JOIN = maskedTextFrame('40');
const JOINED = /40\{"sid":"[^"]+"\}$/;

/**
 * Opens one client: a TCP socket that does the handshake itself and hands on the bytes as they are, without a stream,
 * a buffer or an event per read. Whatever goes wrong ends the process: a round without all of its clients means nothing.
 */
export function openClient(
  id: number,
  { port, compression, isSocketIo }: ClientSettings,
  onData: (id: number, chunk: Buffer, length: number) => void,
): Promise<Socket> {
  return new Promise((resolve) => {
    let received = '';
    let isUpgraded = false;
    let isOpen = false;
    const shakeHands = (bytes: string): void => {
      received += bytes;
      const end = isUpgraded ? -1 : received.indexOf('\r\n\r\n');
      if (end >= 0) {
        assertUpgrade(received.slice(0, end).toLowerCase(), compression);
        received = received.slice(end + 4);
        isUpgraded = true;
        if (isSocketIo) socket.write(JOIN);
      }
      isOpen = isUpgraded && (isSocketIo ? JOINED.test(received) : received === '');
      if (isOpen) resolve(socket);
      else if (isUpgraded && !isSocketIo) throw new Error('Something was sent before the first round');
    };
    const callback = (length: number): boolean => {
      if (isOpen) onData(id, shared, length);
      else shakeHands(shared.toString('latin1', 0, length));
      return true;
    };
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: shared, callback } });
    socket.on('error', ({ message }) => fellOff(id, message));
    socket.on('close', () => fellOff(id, 'its socket has closed'));
    socket.write(
      `GET ${isSocketIo ? '/socket.io/?EIO=4&transport=websocket&' : '/?'}id=${id} HTTP/1.1\r\n` +
        `Host: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${OFFERS[compression]}\r\n`,
    );
  });
}

function assertUpgrade(response: string, compression: Compression): void {
  const isStateless = response.includes('server_no_context_takeover');
  const isCompressing = response.includes('permessage-deflate');
  const agreed = !isCompressing ? 'none' : isStateless ? 'stateless' : 'takeover';
  if (response.startsWith('http/1.1 101') && agreed === compression) return;
  throw new Error(`Expected an upgrade with compression ${compression}, got ${response}`);
}

function fellOff(id: number, why: string): never {
  console.error(`Client ${id} fell off: ${why}`);
  process.exit(1);
}
