import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Peer } from 'crossws';
import nodeAdapter from 'crossws/adapters/node';
import { idOf, type Candidate } from './candidate.js';
import { deflateOption } from './web-socket-server.js';

const TOPIC = 'bench';

/** crossws on Node: `publish` to a topic that every peer has subscribed to. */
export function crossws(): Candidate {
  const byId: Peer[] = [];
  let adapter: ReturnType<typeof nodeAdapter> | undefined;
  let connected = 0;
  const broadcast = (text: string): void => adapter?.publish(TOPIC, text);
  return {
    async listen({ compression, isIndexed, isEchoing }) {
      adapter = nodeAdapter({
        // The heartbeat is off in every candidate.
        idleTimeout: 0,
        serverOptions: { perMessageDeflate: deflateOption(compression) },
        hooks: {
          open(peer) {
            peer.subscribe(TOPIC);
            if (isIndexed) byId[idOf(peer.request.url)] = peer;
            connected++;
          },
          ...(isEchoing && { message: (_peer, message) => broadcast(message.text()) }),
        },
      });
      const server = createServer().on('upgrade', (request, socket, head) => {
        void adapter?.handleUpgrade(request, socket, head);
      });
      server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    },
    connected: () => connected,
    broadcast,
    // A peer's `publish` leaves itself out; there is no way to leave out more.
    broadcastExcept: (text, [id]) => byId[id ?? 0]?.publish(TOPIC, text),
    sendTo: (id, text) => void byId[id]?.send(text),
  };
}
