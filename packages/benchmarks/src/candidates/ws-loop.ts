import type { WebSocket } from 'ws';
import { idOf, webSocketServer, type Candidate } from './candidate.js';

/** What most servers do: `ws`, and a loop over its clients. */
export const wsLoop: Candidate = {
  module: 'ws',
  async start({ compression, isIndexed, accept }) {
    const { server, port } = await webSocketServer(compression);
    const byId: WebSocket[] = [];
    server.on('connection', (socket, { url }) => {
      if (isIndexed) byId[idOf(url)] = socket;
      const onText = accept?.(socket);
      if (onText) socket.on('message', (data: Buffer) => onText(data.toString()));
    });
    return {
      port,
      connected: () => server.clients.size,
      broadcast(text) {
        for (const client of server.clients) client.send(text);
      },
      broadcastExcept(text, ids) {
        const excepted = new Set(ids.map((id) => byId[id]));
        for (const client of server.clients) if (!excepted.has(client)) client.send(text);
      },
      sendTo: (id, text) => byId[id]?.send(text),
    };
  },
};
