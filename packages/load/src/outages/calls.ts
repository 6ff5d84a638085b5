/** Messages per second that node A broadcasts. */
export const MESSAGES_PER_SECOND = 5_000;

/** Times are in ms of the clock that all processes share. */
export interface NodeReport {
  readonly published: number;
  /** Figures of the cluster layer. */
  readonly dropped: number;
  readonly gaps: number;
  readonly duplicates: number;
  readonly invalid: number;
  /** When its client of Redis last became ready. */
  readonly readyAtMs: number;
  /** When it last reported that its cluster has recovered. */
  readonly recoveredAtMs: number;
  /** How often it has reported that the cluster is degraded, and that it has recovered. */
  readonly degraded: number;
  readonly recovered: number;
}

/** Calls that the process of a node answers. */
export interface OutageNodeCalls {
  /** Joins the cluster, and listens for clients. @returns the port */
  start(brokerPort: number): Promise<number>;
  state(): string;
  /** Broadcasts numbered messages, from now on until `stop`. */
  publish(): void;
  stop(): void;
  /** Heap and buffers after forced collections, in bytes. */
  memoryBytes(): Promise<number>;
  queuedBytes(): number;
  report(): NodeReport;
}

/** What one client has received since the last call. */
export interface Received {
  /** From the call of the broadcast to the client, in ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Everything that a client has received. */
export interface ReceivedInAll {
  readonly messages: number;
  /** The number of the last one. */
  readonly last: number;
  /** Numbers that are missing, as ranges from the first to the last. */
  readonly missing: readonly (readonly [first: number, last: number])[];
  /** Messages whose number is not above the one before. */
  readonly outOfOrder: number;
}

/** Calls that the process of one client answers. */
export interface OutageClientCalls {
  connect(port: number): Promise<void>;
  /** Starts to measure again. */
  received(): Received;
  receivedInAll(): ReceivedInAll;
  /** Records when the next message arrives that was sent after that time, and how old it is. */
  watchForNext(sentAfterMs: number): void;
  /** `undefined` until one has arrived. */
  next(): { readonly atMs: number; readonly ageMs: number } | undefined;
}
