import { createAdapter as createClusterAdapter } from '@socket.io/cluster-adapter';
import { createAdapter as createRedisAdapter } from '@socket.io/redis-adapter';
import { createServer } from 'node:http';
import { Server, type Socket } from 'socket.io';
import { listen } from '../../candidates/candidate.js';
import type { NodeSettings } from '../calls.js';
import { ioredis, nodeRedis } from './brokers.js';
import type { RelayCandidate, Member } from './candidate.js';

/** Longer than any run: pings are off in every candidate. */
const NEVER_MS = 3_600_000;
const EVENT = 'm';
/** What Socket.IO puts around a text: packet type EVENT, and the arguments of the event as JSON. */
const BEFORE = `2["${EVENT}","`.length;
const AFTER = '"]'.length;

/** Socket.IO with the adapter that its documentation names first for the broker. */
export const socketIo: RelayCandidate = {
  modules: {
    'node-redis': ['socket.io', '@socket.io/redis-adapter', 'redis'],
    ioredis: ['socket.io', '@socket.io/redis-adapter', 'ioredis'],
    ipc: ['socket.io', '@socket.io/cluster-adapter'],
  },
  async join(settings) {
    const http = createServer();
    const io = new Server(http, {
      adapter: await adapterOf(settings),
      transports: ['websocket'],
      serveClient: false,
      pingInterval: NEVER_MS,
    });
    const { sockets, adapter } = io.of('/');
    return {
      // As `Namespace` adds a connected socket.
      addMember(id, member) {
        sockets.set(id, takingSocket(id, member));
        void adapter.addAll(id, new Set([id]));
        return Promise.resolve();
      },
      broadcast(message, exception) {
        if (exception === undefined) io.emit(EVENT, message);
        else io.except(exception).emit(EVENT, message);
      },
      listen: () => listen(http),
    };
  },
};

async function adapterOf({ transport, port }: NodeSettings) {
  switch (transport) {
    case 'node-redis':
      return createRedisAdapter(await nodeRedis(port), await nodeRedis(port));
    case 'ioredis':
      return createRedisAdapter(ioredis(port), ioredis(port));
    default:
      return createClusterAdapter();
  }
}

/** The part of a socket that a broadcasting adapter uses. */
function takingSocket(id: string, member: Member): Socket {
  const writeToEngine = ([head, attachment]: readonly [string, Buffer?]): void => {
    member.take(attachment ?? head.slice(BEFORE, -AFTER));
  };
  const socket = { id, client: { writeToEngine }, notifyOutgoingListeners: () => undefined };
  return socket as unknown as Socket;
}
