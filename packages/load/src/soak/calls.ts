/**
 * Three pools of one server process, by the path that a client connects to. `steady`: nobody is slow and everybody
 * leaves with a closing handshake. `lossy`: slow readers, whose messages are dropped. `strict`: slow readers, who are
 * closed for it, and clients that vanish.
 */
export const POOLS = ['steady', 'lossy', 'strict'] as const;
export type PoolName = (typeof POOLS)[number];

export const ROOMS: Readonly<Record<PoolName, number>> = { steady: 10, lossy: 2, strict: 2 };
/** Clients at a time. */
export const POPULATION: Readonly<Record<PoolName, number>> = { steady: 300, lossy: 12, strict: 12 };

/** The message of a client that wants to be closed. */
export const CLOSE_ME = 'close me';
/** The server's last message to them. */
export const BYE = 'bye';
/** Where the position stands in the messages to slow readers, and how long these are: enough to fill the kernel's buffers. */
export const SLOW_MESSAGE_BYTES = 64 * 1024;

/** Everything since the start. */
export interface PoolCounts {
  readonly joined: number;
  readonly left: number;
  /** Messages that the pool says it has sent. */
  readonly messagesSent: number;
  /** The same number, added up from the results of the calls. */
  readonly sentByResults: number;
  readonly dropped: number;
  readonly droppedByResults: number;
  readonly received: number;
  readonly slowReaders: number;
  readonly slowEvents: number;
  readonly terminated: number;
  readonly heartbeatsLost: number;
  readonly errors: number;
  readonly replaced: number;
}

/** What remains in the server when all clients are gone. */
export interface Rest {
  readonly heapBytes: number;
  readonly connections: number;
  readonly namespaces: number;
  /** Objects that a collection has not freed. */
  readonly objects: Readonly<Record<'Connection' | 'WebSocket' | 'Timeout', number>>;
  readonly listeners: number;
  /** The kinds of resources that keep the process alive, and the number of each. */
  readonly resources: Readonly<Record<string, number>>;
  readonly pools: Readonly<Record<PoolName, PoolCounts>>;
  /** The largest number of listeners that any event of any socket had. */
  readonly maxListenersOfSocket: number;
}

/** Calls that the server process answers. */
export interface SoakServerCalls {
  listen(): Promise<number>;
  start(): void;
  /** Stops sending. */
  stop(): void;
  /** Call it when all clients are gone. */
  rest(): Promise<Rest>;
}

/** What the clients of one pool have seen since the start. */
export interface Seen {
  opened: number;
  closed: number;
  received: number;
  sent: number;
  /** Positions that are missing between two that a client has got. */
  missing: number;
  /** Close codes and how often. */
  readonly codes: Record<string, number>;
}

/** Calls that the clients process answers. */
export interface SoakClientsCalls {
  /** Joins, leaves and sends for that long; resolves when everybody has left. @throws what a client has seen wrong */
  run(settings: { port: number; ms: number }): Promise<Readonly<Record<PoolName, Seen>>>;
}
