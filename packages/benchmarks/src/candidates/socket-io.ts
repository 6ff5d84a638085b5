import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, type Socket } from 'socket.io';
import { type Candidate } from './candidate.js';
import { deflateOption } from './web-socket-server.js';

/** Beyond any run: the heartbeat is off in every candidate. */
const NEVER_MS = 3_600_000;

/** Socket.IO over its WebSocket transport alone. */
export function socketIo(): Candidate {
  const byId: Socket[] = [];
  let io: Server | undefined;
  let connected = 0;
  return {
    async listen({ compression, isIndexed, isEchoing }) {
      const server = createServer();
      io = new Server(server, {
        transports: ['websocket'],
        serveClient: false,
        pingInterval: NEVER_MS,
        perMessageDeflate: deflateOption(compression),
      });
      io.on('connection', (socket) => {
        connected++;
        if (isIndexed) byId[Number(socket.handshake.query['id'])] = socket;
        if (isEchoing) socket.on('m', (text: string) => io?.emit('m', text));
      });
      server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    },
    connected: () => connected,
    broadcast: (text) => void io?.emit('m', text),
    broadcastExcept: (text, ids) => void io?.except(ids.map((id) => byId[id]?.id ?? '')).emit('m', text),
    sendTo: (id, text) => void byId[id]?.emit('m', text),
  };
}
