import type { ClusterAdapter } from '@soketi/connections';
import type { Settings } from './settings.js';

/** Connects this process to the other nodes. */
export interface Broker {
  /** A new one for each pool. Pools with the same prefix find each other. */
  readonly adapter: (prefix: string) => ClusterAdapter;
  readonly close: () => Promise<void>;
}

/**
 * The broker that the environment names, if any.
 *
 * @throws (rejects) The address is wrong, or NATS cannot be reached. If Redis is missing, each node works alone until it
 * is there.
 */
export async function connectBroker({ redisUrl, natsUrl }: Settings): Promise<Broker | undefined> {
  if (redisUrl !== undefined) return connectRedis(redisUrl).catch(becauseOf('REDIS_URL'));
  if (natsUrl !== undefined) return connectNats(natsUrl).catch(becauseOf('NATS_URL'));
  return undefined;
}

function becauseOf(variable: string) {
  return (error: unknown): never => {
    throw new Error(`${variable}: ${(error as Error).message}`, { cause: error });
  };
}

// Imported when they are needed: a node that needs neither starts sooner.
async function connectRedis(url: string): Promise<Broker> {
  const [{ createClient }, { redisAdapter }] = await Promise.all([
    import('redis'),
    import('@soketi/connections-redis'),
  ]);
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
  const [{ connect }, { natsAdapter }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@soketi/connections-nats'),
  ]);
  const connection = await connect({ servers, maxReconnectAttempts: -1, pingInterval: 5_000 });
  return {
    adapter: (prefix) => natsAdapter({ connection, prefix }),
    close: () => connection.close(),
  };
}
