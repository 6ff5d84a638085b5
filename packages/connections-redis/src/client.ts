// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as in Node's own types
export type Listener = (...args: any[]) => void;

/** What `redis` and `ioredis` have in common: they emit events. */
export interface Emitter {
  on(event: string, listener: Listener): unknown;
  off(event: string, listener: Listener): unknown;
}

/** Takes what Redis delivers: the name of a channel, and a message. Never throws. */
export type Receive = (name: Buffer, message: Buffer) => void;

/** The user's client, whichever library it is from. */
export interface Client extends Emitter {
  isReady(): boolean;
  publish(name: string, message: Buffer): Promise<unknown>;
  /** Makes a connection of its own. Not connected yet, so that it can be listened to first. */
  duplicate(receive: Receive): Receiver;
}

/**
 * One connection that receives. It never reconnects: the adapter makes a new one instead. A client that reconnects
 * subscribes again by itself, each library in another way, and each can lose channels or end the process doing so.
 */
export interface Receiver extends Emitter {
  /** Resolves when it is ready. Rejects, or emits `error`, `close` or `end`, when it is not or no longer. */
  connect(): Promise<unknown>;
  /** Resolves when Redis has confirmed all of them. */
  subscribe(names: readonly string[]): Promise<unknown>;
  unsubscribe(names: readonly string[]): Promise<unknown>;
  /** Ends it at once, in whatever state it is. */
  destroy(): void;
}
