import type { Peer } from 'crossws';
import nodeAdapter from 'crossws/adapters/node';
import { cluster, redis, type RedisClientLike, type SyncAdapter } from 'crossws/sync';
import type { NodeSettings } from '../calls.js';
import { ioredis, nodeRedis } from './brokers.js';
import { AUDIENCE, type RelayCandidate, type Member } from './candidate.js';

const CHANNEL = 'crossws';
const NAMESPACE = '/';

/** crossws on Node, with its sync driver for the broker. */
export const crossws: RelayCandidate = {
  modules: {
    'node-redis': ['crossws', 'redis'],
    ioredis: ['crossws', 'ioredis'],
    ipc: ['crossws'],
  },
  // A peer's `publish` leaves that peer out, on its own node.
  hasNoExceptions: true,
  async join(settings) {
    const adapter = nodeAdapter({ sync: await syncOf(settings) });
    return {
      // As its Node adapter adds a connected peer.
      addMember(_id, member) {
        const peers = adapter.peers.get(NAMESPACE) ?? new Set<Peer>();
        adapter.peers.set(NAMESPACE, peers.add(takingPeer(member)));
        return Promise.resolve();
      },
      broadcast: (message) => adapter.publish(AUDIENCE, message),
    };
  },
};

async function syncOf({ transport, port }: NodeSettings): Promise<SyncAdapter> {
  switch (transport) {
    case 'node-redis':
      return redis({ channel: CHANNEL, client: await nodeRedis(port) });
    case 'ioredis':
      return redis({ channel: CHANNEL, client: ioredis(port) as unknown as RedisClientLike });
    default:
      return cluster({ channel: CHANNEL });
  }
}

/** The part of a peer that a broadcast uses: the first peer of a topic is sent to, and sends to the others. */
function takingPeer(member: Member): Peer {
  const peer = {
    topics: new Set([AUDIENCE]),
    send: (message: string | Uint8Array) => member.take(message),
    _publish: () => undefined,
  };
  return peer as unknown as Peer;
}
