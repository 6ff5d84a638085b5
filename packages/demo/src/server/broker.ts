import { connect } from '@nats-io/transport-node';
import type { ClusterAdapter } from '@soketi/connections';
import { natsAdapter } from '@soketi/connections-nats';
import { redisAdapter } from '@soketi/connections-redis';
import { createClient } from 'redis';
import type { Settings } from './settings.js';

/** What joins this process to the other nodes. */
export interface Broker {
  /** A new one for each pool. Pools with the same prefix find each other. */
  readonly adapter: (prefix: string) => ClusterAdapter;
  readonly close: () => Promise<void>;
}

/**
 * The broker that the environment names, if it names one.
 *
 * @throws (rejects) NATS cannot be reached. Redis is waited for: nodes go on alone until it is there.
 */
export async function connectBroker({ redisUrl, natsUrl }: Settings): Promise<Broker | undefined> {
  if (redisUrl !== undefined) return connectRedis(redisUrl);
  if (natsUrl !== undefined) return connectNats(natsUrl);
  return undefined;
}

function connectRedis(url: string): Broker {
  const client = createClient({ url, pingInterval: 5_000 });
  client.on('error', (error: Error) => console.warn(`Redis: ${error.message}`));
  void client.connect().catch(() => undefined);
  return {
    adapter: (prefix) => redisAdapter({ client, prefix }),
    close: () => {
      client.destroy();
      return Promise.resolve();
    },
  };
}

async function connectNats(servers: string): Promise<Broker> {
  const connection = await connect({ servers, maxReconnectAttempts: -1, pingInterval: 5_000 });
  return {
    adapter: (prefix) => natsAdapter({ connection, prefix }),
    close: () => connection.close(),
  };
}
