import type * as Library from '@soketi/connections';
import type { WebSocket } from 'ws';
import { roomsOf } from '../rooms.js';
import { idOf, webSocketServer, type Candidate } from './candidate.js';

const NAMESPACE = 'bench';

type Member = Library.Connection<number, Library.WebSocketMessage, WebSocket>;

function candidate(options: Library.ConnectionsPoolOptions<Member>): Candidate {
  return {
    module: '@soketi/connections',
    async start({ module, compression, accept, rooms }) {
      const { Connection, ConnectionsPool } = (await import(module)) as typeof Library;
      // Those of an older checkout have none.
      const hasRooms = 'join' in Connection.prototype;
      const pool = new ConnectionsPool<Library.WebSocketMessage, Member>(options);
      const { server, port } = await webSocketServer(compression);
      server.on('connection', (socket, { url }) => {
        const connection: Member = new Connection(idOf(url), NAMESPACE, socket);
        const onText = accept?.(connection);
        if (onText) connection.on('message', (text) => onText(text as string));
        if (hasRooms) connection.join(roomsOf(rooms, connection.id));
        void pool.newConnection(connection);
      });
      return {
        port,
        connected: () => pool.namespace(NAMESPACE).size,
        broadcast: (text) => void pool.broadcastMessage(NAMESPACE, text),
        broadcastExcept: (text, ids) => void pool.broadcastMessage(NAMESPACE, text, ids),
        ...(hasRooms && {
          broadcastTo: (room, text) => void pool.broadcastMessage(NAMESPACE, text, { rooms: room }),
        }),
        sendTo: (id, text) => void pool.getConnection(NAMESPACE, id)?.send(text),
      };
    },
  };
}

/** This library. */
export const soketi = candidate({});

/** This library with its shared compression history: another method if clients keep a compression context. */
export const soketiHistory = candidate({ compression: { history: true } });
