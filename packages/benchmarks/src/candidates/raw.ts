import type { Socket } from 'node:net';
import { textFrame } from '../frames.js';
import { webSocketServer, type Candidate } from './candidate.js';

/**
 * The floor: one `write` of one buffer per `net.Socket` and turn. The buffer holds all frames of the turn, is made
 * before the clock starts and is the same for all sockets. No registry, no checks, no bounds, nothing private. What
 * clients broadcast cannot be prepared: there it is one frame and one write per message.
 */
export const raw: Candidate = {
  module: 'ws',
  cannot: [
    'private',
    'all but 1',
    'all but 100',
    'to the room of all',
    'to a room of ten',
    'to one of many rooms',
    'echo',
    'inbound',
  ],
  async start({ accept }) {
    const sockets: Socket[] = [];
    const { server, port } = await webSocketServer('none');
    server.on('connection', (socket, { socket: tcp }) => {
      sockets.push(tcp);
      const onText = accept?.(socket);
      if (onText) socket.on('message', (data: Buffer) => onText(data.toString()));
    });
    const writeToAll = (bytes: Buffer): void => {
      for (const socket of sockets) socket.write(bytes);
    };
    return {
      port,
      connected: () => sockets.length,
      broadcast: (text) => writeToAll(textFrame(text)),
      prepareTurn(texts) {
        const bytes = Buffer.concat(texts.map(textFrame));
        return () => writeToAll(bytes);
      },
    };
  },
};
