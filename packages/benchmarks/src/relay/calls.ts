/** How nodes reach each other: a client library of Redis, NATS, or the primary of `node:cluster`. */
export type Transport = 'node-redis' | 'ioredis' | 'nats' | 'ipc';

/** One node can also be alone. */
export type NodeTransport = Transport | 'none';

export type RelayCandidateName = 'soketi' | 'socket.io' | 'crossws' | 'json-loop';

export interface NodeSettings {
  readonly candidate: RelayCandidateName;
  readonly transport: NodeTransport;
  /** Of the broker; 0 without a broker. */
  readonly port: number;
}

/** What one message is like. */
export interface MessageSettings {
  readonly bytes: number;
  readonly body: 'text' | 'binary';
  /** Each broadcast names one member that must not receive it. */
  readonly hasException: boolean;
}

/** One round: what one node publishes, and the other one must receive. */
export interface RelayLoad extends MessageSettings {
  readonly perTurn: number;
  readonly turns: number;
  /** The receiver acknowledges each time that this many turns have arrived. */
  readonly turnsPerAck: number;
  /** Turns that the publisher may be ahead of the receiver. */
  readonly window: number;
  /** Pause before each turn, in ms. With a pause, each turn is timed. */
  readonly gapMs: number;
}

/** CPU time of one node, from the first call to the last acknowledgement. */
export interface NodeCost {
  readonly cpuMicros: number;
  readonly wallMs: number;
}

/** What the publisher has measured in a round. */
export interface Published extends NodeCost {
  /** When each turn began, if they are timed. */
  readonly begunAtMs: readonly number[];
}

/** Calls that the primary of `node:cluster` answers. */
export interface PrimaryCalls {
  /** Forks one worker, pinned to that core. */
  fork(core: number | undefined): Promise<void>;
  /** Makes a worker answer one of its calls. */
  call(worker: number, name: string, args: readonly unknown[]): Promise<unknown>;
}
