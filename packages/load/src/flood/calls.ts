/** How the server handles a flood. */
export type Reaction = 'none' | 'pause' | 'drop' | 'close';

/** Calls that the server process answers. It echoes every message to its sender. */
export interface FloodServerCalls {
  /** @returns the port */
  listen(reaction: Reaction): Promise<number>;
  /** Messages that have been echoed so far. */
  echoed(): number;
}

/** Calls that the process of the flooding client answers. */
export interface FlooderCalls {
  /** Replaces the connection with a new one, and prepares that many text messages of that size. */
  connect(settings: { port: number; messages: number; bytes: number }): Promise<void>;
  /** Sends them as fast as the server accepts them. */
  flood(): void;
}

/** Calls that the process of the other client answers. */
export interface EchoCalls {
  connect(port: number): Promise<void>;
  /** Measures the echoes of messages for that long. @returns how long each of them took, in ms */
  measure(settings: { ms: number; everyMs: number }): Promise<readonly number[]>;
}
