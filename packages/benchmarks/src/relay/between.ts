import { Broker } from '@soketi/load/harness';
import { Redis } from 'ioredis';
import type { Transport } from './calls.js';

/** What carries messages from node to node: a broker, or the primary of `node:cluster`. */
export interface Between {
  readonly port: number;
  readonly pid: number;
  /** Bytes that it has read and written so far; `undefined` if it does not count them. */
  bytes(): Promise<number | undefined>;
  /** Subscribe commands that it has received so far. */
  subscribeCommands(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts the broker of a transport; `undefined` if the transport needs none. */
export async function startBroker(transport: Transport): Promise<Between | undefined> {
  if (transport === 'ipc') return undefined;
  if (transport !== 'nats') return startRedis();
  const broker = await Broker.start('nats');
  const { port, pid } = broker;
  const unknown = (): Promise<never> => Promise.reject(new Error('nats-server is not asked'));
  return {
    port,
    pid,
    bytes: () => Promise.resolve(undefined),
    subscribeCommands: unknown,
    stop: () => broker.stop(),
  };
}

async function startRedis(): Promise<Between> {
  const broker = await Broker.start('redis');
  const redis = new Redis(broker.port, '127.0.0.1');
  /** @see https://redis.io/docs/latest/commands/info/ */
  const ask = async (section: string, pattern: RegExp): Promise<number> =>
    Number(pattern.exec(await redis.info(section))?.[1] ?? 0);
  return {
    port: broker.port,
    pid: broker.pid,
    bytes: async () =>
      (await ask('stats', /^total_net_input_bytes:(\d+)/m)) +
      (await ask('stats', /^total_net_output_bytes:(\d+)/m)),
    subscribeCommands: () => ask('commandstats', /^cmdstat_subscribe:calls=(\d+)/m),
    stop() {
      redis.disconnect();
      return broker.stop();
    },
  };
}
