import { Redis } from 'ioredis';
import { createClient } from 'redis';

/** A client of node-redis 6, set up as its documentation says. */
export async function nodeRedis(port: number) {
  const client = createClient({ socket: { host: '127.0.0.1', port } });
  client.on('error', fail);
  await client.connect();
  return client;
}

/** A client of ioredis 6, set up as its documentation says. */
export function ioredis(port: number): Redis {
  return new Redis(port, '127.0.0.1').on('error', fail);
}

/** The broker never goes away here: an error ends the run. */
function fail(error: Error): never {
  console.error(error);
  process.exit(1);
}
