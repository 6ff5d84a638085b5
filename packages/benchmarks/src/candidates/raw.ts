import type { Socket } from 'node:net';
import { webSocketServer } from './web-socket-server.js';
import type { Candidate } from './candidate.js';

const FIN_TEXT = 0x81;

/**
 * The floor: the sockets of a `ws` server, each written one prepared buffer per turn. No registry, no checks, no
 * bounds, nothing private: nobody would run it.
 */
export function raw(): Candidate {
  const sockets: Socket[] = [];
  let frames: Buffer[] = [];
  const endTurn = (): void => {
    const bytes = frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames);
    frames = [];
    for (const socket of sockets) socket.write(bytes);
  };
  return {
    async listen({ isEchoing }) {
      const { server, port } = await webSocketServer('none');
      server.on('connection', (socket, { socket: tcp }) => {
        sockets.push(tcp);
        if (!isEchoing) return;
        socket.on('message', (data: Buffer) => {
          frames.push(frame(data.toString()));
          endTurn();
        });
      });
      return port;
    },
    connected: () => sockets.length,
    broadcast: (text) => void frames.push(frame(text)),
    endTurn,
  };
}

/** @see RFC 6455 §5.2 */
function frame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const header =
    length < 126
      ? Buffer.of(FIN_TEXT, length)
      : length < 65536
        ? Buffer.of(FIN_TEXT, 126, length >> 8, length & 255)
        : Buffer.of(
            FIN_TEXT,
            127,
            0,
            0,
            0,
            0,
            length >>> 24,
            (length >> 16) & 255,
            (length >> 8) & 255,
            length & 255,
          );
  return Buffer.concat([header, Buffer.from(text)]);
}
