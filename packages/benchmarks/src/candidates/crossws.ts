import { createServer } from 'node:http';
import type { Peer } from 'crossws';
import nodeAdapter from 'crossws/adapters/node';
import { roomsOf } from '../rooms.js';
import { deflateOption, idOf, listen, type Candidate } from './candidate.js';

const TOPIC = 'bench';

/** crossws on Node: `publish` to a topic that every peer has subscribed to. */
export const crossws: Candidate = {
  module: 'crossws',
  // A peer's `publish` leaves itself out; there is no way to leave out more.
  cannot: ['all but 100'],
  async start({ compression, isIndexed, accept, rooms }) {
    const byId: Peer[] = [];
    const listeners = new Map<Peer, (text: string) => void>();
    let connected = 0;
    const adapter = nodeAdapter({
      // The heartbeat is off in every candidate.
      idleTimeout: 0,
      serverOptions: { perMessageDeflate: deflateOption(compression) },
      hooks: {
        open(peer) {
          peer.subscribe(TOPIC);
          for (const room of roomsOf(rooms, idOf(peer.request.url))) peer.subscribe(room);
          if (isIndexed) byId[idOf(peer.request.url)] = peer;
          if (accept) listeners.set(peer, accept(peer));
          connected++;
        },
        ...(accept && { message: (peer, message) => listeners.get(peer)?.(message.text()) }),
      },
    });
    const server = createServer().on('upgrade', (request, socket, head) => {
      void adapter.handleUpgrade(request, socket, head);
    });
    return {
      port: await listen(server),
      connected: () => connected,
      broadcast: (text) => adapter.publish(TOPIC, text),
      broadcastExcept: (text, [id]) => byId[id ?? 0]?.publish(TOPIC, text),
      broadcastTo: (room, text) => adapter.publish(room, text),
      sendTo: (id, text) => void byId[id]?.send(text),
    };
  },
};
