import type { WebSocket, WebSocketServer } from 'ws';
import { idOf, type Candidate } from './candidate.js';
import { webSocketServer } from './web-socket-server.js';

/** What most servers do: `ws`, and a loop over its clients. */
export function wsLoop(): Candidate {
  let wss: WebSocketServer | undefined;
  const byId: WebSocket[] = [];
  const broadcast = (text: string): void => {
    for (const client of wss?.clients ?? []) client.send(text);
  };
  return {
    async listen({ compression, isIndexed, isEchoing }) {
      const { server, port } = await webSocketServer(compression);
      wss = server;
      server.on('connection', (socket, { url }) => {
        if (isIndexed) byId[idOf(url)] = socket;
        if (isEchoing) socket.on('message', (data: Buffer) => broadcast(data.toString()));
      });
      return port;
    },
    connected: () => wss?.clients.size ?? 0,
    broadcast,
    broadcastExcept(text, ids) {
      const excepted = new Set(ids.map((id) => byId[id]));
      for (const client of wss?.clients ?? []) if (!excepted.has(client)) client.send(text);
    },
    sendTo: (id, text) => byId[id]?.send(text),
  };
}
