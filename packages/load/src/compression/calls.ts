/** How to broadcast for some seconds. */
export interface Stream {
  readonly bytes: number;
  readonly everyMs: number;
  /** Passwords that are continuously hashed, as in a storm of logins: each takes a thread of the pool. */
  readonly hashes: number;
  readonly ms: number;
}

/** Calls that the server process answers. */
export interface CompressionServerCalls {
  /** @returns the port */
  listen(): Promise<number>;
  connected(): number;
  /** @returns how many messages were broadcast */
  stream(stream: Stream): Promise<number>;
  /** Connections closed as slow readers so far. */
  closedAsSlow(): number;
  /** Broadcasts that were compressed so far; the others were sent plain. */
  compressed(): number;
  /** CPU time of the process so far, including the threads that compress and hash, in ms. */
  cpuMs(): number;
}

/** Calls that the process of the clients answers. */
export interface CompressionClientsCalls {
  connect(settings: { port: number; clients: number }): Promise<void>;
  received(): number;
  /** From the call of the broadcast to its arrival, in ms, over the clients that inflate, since the last call. */
  latency(): { readonly p50Ms: number; readonly p99Ms: number };
  /** CPU time of the process so far, including the threads that inflate, in ms. */
  cpuMs(): number;
}
