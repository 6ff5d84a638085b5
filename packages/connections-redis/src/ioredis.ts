import type { Client, Emitter, Receive, Receiver } from './client.js';

/** A client of `ioredis` 5 or 6, or of `iovalkey`, as `new Redis()` makes it. */
export interface IoredisClient extends Emitter {
  readonly status: string;
  readonly isCluster: boolean;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- each version names its own options
  duplicate(override?: any): unknown;
}

/** The part of it that the adapter calls, whose types differ from version to version. */
interface Connection extends Emitter {
  readonly status: string;
  duplicate(override: object): Connection;
  connect(): Promise<void>;
  disconnect(): void;
  publish(name: string, message: Buffer): Promise<unknown>;
  subscribe(...names: readonly string[]): Promise<unknown>;
  unsubscribe(...names: readonly string[]): Promise<unknown>;
}

/** One connection, which is made when it is asked to, and neither reconnects nor repeats anything. */
const ONCE = {
  lazyConnect: true,
  retryStrategy: () => null,
  sentinelRetryStrategy: () => null,
  enableOfflineQueue: false,
  // Its rejection would be unhandled, and end the process, when Redis no longer allows a channel.
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
};

export function isIoredis(client: object): client is IoredisClient {
  return 'status' in client && 'isCluster' in client && client.isCluster === false;
}

export function fromIoredis(client: IoredisClient): Client {
  const connection = client as object as Connection;
  return {
    on: (event, listener) => connection.on(event, listener),
    off: (event, listener) => connection.off(event, listener),
    isReady: () => connection.status === 'ready',
    publish: (name, message) => connection.publish(name, message),
    duplicate: (receive) => receiver(connection.duplicate(ONCE), receive),
  };
}

function receiver(connection: Connection, receive: Receive): Receiver {
  connection.on('messageBuffer', receive);
  return {
    on: (event, listener) => connection.on(event, listener),
    off: (event, listener) => connection.off(event, listener),
    connect: () => connection.connect(),
    subscribe: (names) => connection.subscribe(...names),
    unsubscribe: (names) => connection.unsubscribe(...names),
    destroy: () => connection.disconnect(),
  };
}
