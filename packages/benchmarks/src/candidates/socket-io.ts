import { createServer } from 'node:http';
import { Server, type Socket } from 'socket.io';
import { roomsOf } from '../rooms.js';
import { deflateOption, listen, type Candidate } from './candidate.js';

/** Longer than any run: the heartbeat is off in every candidate. */
const NEVER_MS = 3_600_000;

/** Socket.IO with only its WebSocket transport. */
export const socketIo: Candidate = {
  module: 'socket.io',
  isSocketIo: true,
  async start({ compression, isIndexed, accept, rooms }) {
    const byId: Socket[] = [];
    let connected = 0;
    const server = createServer();
    const io = new Server(server, {
      transports: ['websocket'],
      serveClient: false,
      pingInterval: NEVER_MS,
      perMessageDeflate: deflateOption(compression),
    });
    io.on('connection', (socket) => {
      connected++;
      void socket.join([...roomsOf(rooms, Number(socket.handshake.query['id']))]);
      if (isIndexed) byId[Number(socket.handshake.query['id'])] = socket;
      if (accept) socket.on('m', accept({ send: (text) => socket.emit('m', text) }));
    });
    return {
      port: await listen(server),
      connected: () => connected,
      broadcast: (text) => void io.emit('m', text),
      broadcastExcept: (text, ids) => void io.except(ids.map((id) => byId[id]?.id ?? '')).emit('m', text),
      broadcastTo: (room, text) => void io.to(room).emit('m', text),
      sendTo: (id, text) => void byId[id]?.emit('m', text),
    };
  },
};
