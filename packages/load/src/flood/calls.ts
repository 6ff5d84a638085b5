/** What the server does about a flood. */
export type Reaction = 'none' | 'pause' | 'drop' | 'close';

/** Calls that the server process answers. It echoes every message to its sender. */
export interface FloodServerCalls {
  /** @returns the port */
  listen(reaction: Reaction): Promise<number>;
  /** Messages that have been echoed so far. */
  echoed(): number;
}

/** Calls that the process of the client that floods answers. */
export interface FlooderCalls {
  /** Connects, in place of the last connection, and prepares that many text messages of that size. */
  connect(settings: { port: number; messages: number; bytes: number }): Promise<void>;
  /** Sends them as fast as the server takes them. */
  flood(): void;
}

/** Calls that the process of the other client answers. */
export interface EchoCalls {
  connect(port: number): Promise<void>;
  /** Has messages echoed for that time. @returns how long each of them took, in ms */
  measure(settings: { ms: number; everyMs: number }): Promise<readonly number[]>;
}
