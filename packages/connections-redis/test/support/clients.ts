import { Redis as Ioredis6 } from 'ioredis';
import { Redis as Ioredis5 } from 'ioredis-5';
import { Redis as Iovalkey } from 'iovalkey';
import { createClient as createClient6 } from 'redis';
import { createClient as createClient4 } from 'redis-4';
import { createClient as createClient5 } from 'redis-5';
import type { RedisAdapterOptions } from '../../src/index.js';

/** A client of one library. */
export interface TestClient {
  readonly client: RedisAdapterOptions['client'];
  readonly connect: () => Promise<unknown>;
  readonly listeners: () => number;
  readonly ping: () => Promise<unknown>;
  readonly end: () => void;
}

export interface ClientOptions {
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

export interface Library {
  readonly name: string;
  /** Makes a client that reconnects, with a listener for errors, as its documentation requires. */
  readonly create: (options: ClientOptions) => TestClient;
}

type NodeRedis = ReturnType<typeof createClient6>;

const RECONNECT_MS = 50;

function nodeRedis(name: string, createClient: (options: object) => unknown): Library {
  return {
    name,
    create: ({ port, ...credentials }) => {
      const socket = { host: '127.0.0.1', port, reconnectStrategy: () => RECONNECT_MS };
      const client = createClient({ ...credentials, socket }) as NodeRedis;
      client.on('error', () => undefined);
      return {
        client,
        connect: () => client.connect(),
        listeners: () => countListeners(client),
        ping: () => client.ping(),
        // eslint-disable-next-line @typescript-eslint/no-deprecated -- version 4 has no other name for it
        end: () => void (client.isOpen && client.disconnect()),
      };
    },
  };
}

function ioredis(name: string, Client: new (options: object) => unknown): Library {
  return {
    name,
    create: (options) => {
      const retryStrategy = () => RECONNECT_MS;
      const client = new Client({
        ...options,
        host: '127.0.0.1',
        lazyConnect: true,
        retryStrategy,
      }) as Ioredis6;
      client.on('error', () => undefined);
      return {
        client,
        connect: () => client.connect(),
        listeners: () => countListeners(client),
        ping: () => client.ping(),
        end: () => client.disconnect(),
      };
    },
  };
}

function countListeners(client: {
  eventNames(): (string | symbol)[];
  listenerCount(name: string | symbol): number;
}): number {
  return client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0);
}

export const LIBRARIES: readonly Library[] = [
  nodeRedis('redis 4.6', createClient4),
  nodeRedis('redis 5', createClient5),
  nodeRedis('redis 6', createClient6),
  ioredis('ioredis 5', Ioredis5),
  ioredis('ioredis 6', Ioredis6),
  ioredis('iovalkey', Iovalkey),
];
