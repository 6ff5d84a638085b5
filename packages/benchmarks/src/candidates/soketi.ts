import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '@soketi/connections';
import type { WebSocket } from 'ws';
import { idOf, type Candidate } from './candidate.js';
import { webSocketServer } from './web-socket-server.js';

const NAMESPACE = 'bench';

type Member = Connection<number, WebSocketMessage, WebSocket>;

/** This library, with its shared compression history: another way where clients keep a compression context. */
export const soketiHistory = (): Candidate => soketi({ compression: { history: true } });

/** This library. */
export function soketi(options: ConnectionsPoolOptions<Member> = {}): Candidate {
  const pool = new ConnectionsPool<WebSocketMessage, Member>(options);
  return {
    async listen({ compression, isEchoing }) {
      const { server, port } = await webSocketServer(compression);
      server.on('connection', (socket, { url }) => {
        const connection: Member = new Connection(idOf(url), NAMESPACE, socket);
        if (isEchoing) connection.on('message', (text) => void pool.broadcastMessage(NAMESPACE, text));
        void pool.newConnection(connection);
      });
      return port;
    },
    connected: () => pool.namespace(NAMESPACE).size,
    broadcast: (text) => void pool.broadcastMessage(NAMESPACE, text),
    broadcastExcept: (text, ids) => void pool.broadcastMessage(NAMESPACE, text, ids),
    sendTo: (id, text) => void pool.getConnection(NAMESPACE, id)?.send(text),
  };
}
