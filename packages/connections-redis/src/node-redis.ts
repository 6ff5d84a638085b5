import type { Client, Emitter, Listener, Receive, Receiver } from './client.js';

/** A client of `redis` (node-redis) 4.6, 5 or 6, as `createClient()` makes it. */
export interface NodeRedisClient extends Emitter {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  sendCommand(args: never, options?: never): Promise<unknown>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- each version names its own options
  duplicate(overrides?: any): unknown;
}

/** The part of it that the adapter calls, whose types differ from version to version. */
interface Connection extends Emitter {
  readonly isReady: boolean;
  readonly options?: { readonly socket?: object };
  duplicate(overrides: object): Connection;
  connect(): Promise<unknown>;
  /** Ends at once. Throws, or rejects, if it has ended. */
  disconnect(): Promise<void>;
  sendCommand(args: readonly (string | Buffer)[], options: object): Promise<unknown>;
  subscribe(names: readonly string[], listener: ReceiveMessage, asBuffers: true): Promise<void>;
  unsubscribe(names: readonly string[], listener: ReceiveMessage, asBuffers: true): Promise<void>;
}

type ReceiveMessage = (message: Buffer, name: Buffer) => void;

/** Version 6 makes an `AbortSignal` for the time limit of each command; the adapter has its own. */
const WITHOUT_TIMEOUT = { timeout: undefined };

export function isNodeRedis(client: object): client is NodeRedisClient {
  // Those of clusters and sentinels look the same, but send commands in another way.
  return (
    'isReady' in client &&
    'sendCommand' in client &&
    !('slots' in client || 'masters' in client || 'use' in client)
  );
}

export function fromNodeRedis(client: NodeRedisClient): Client {
  const connection = client as object as Connection;
  return {
    on: (event, listener) => connection.on(event, listener),
    off: (event, listener) => connection.off(event, listener),
    isReady: () => connection.isReady,
    publish: (name, message) => connection.sendCommand(['PUBLISH', name, message], WITHOUT_TIMEOUT),
    duplicate: (receive) => new NodeRedisReceiver(connection, receive),
  };
}

class NodeRedisReceiver implements Receiver {
  readonly #connection: Connection;
  readonly #receive: ReceiveMessage;
  #hasSocket = false;

  constructor(original: Connection, receive: Receive) {
    this.#connection = original.duplicate({
      disableOfflineQueue: true,
      clientSideCache: undefined,
      socket: { ...original.options?.socket, reconnectStrategy: () => new Error('The adapter reconnects') },
    });
    this.#receive = (message, name) => receive(name, message);
    this.on('connect', () => (this.#hasSocket = true));
  }

  on(event: string, listener: Listener): void {
    this.#connection.on(event, listener);
  }

  off(event: string, listener: Listener): void {
    this.#connection.off(event, listener);
  }

  connect(): Promise<unknown> {
    return this.#connection.connect();
  }

  subscribe(names: readonly string[]): Promise<unknown> {
    return this.#connection.subscribe(names, this.#receive, true);
  }

  unsubscribe(names: readonly string[]): Promise<unknown> {
    return this.#connection.unsubscribe(names, this.#receive, true);
  }

  destroy(): void {
    // Before it has a socket, versions 4 and 5 would forget that they are closed, and keep it for ever. While they emit
    // `connect`, the commands that they are about to send would be rejected with nobody to handle it.
    if (this.#hasSocket) this.#disconnect();
    else this.on('connect', () => queueMicrotask(() => this.#disconnect()));
  }

  #disconnect(): void {
    // Throws or rejects, depending on the version, if it has ended already.
    void (async () => this.#connection.disconnect())().catch(() => undefined);
  }
}
