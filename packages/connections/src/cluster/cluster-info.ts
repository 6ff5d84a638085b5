/** Whether this node hears the others, and they hear it. For metrics and alerts; do not make readiness depend on it. */
export type ClusterState =
  /** There is no adapter, or the pool has left: the pool is on its own. */
  | 'alone'
  /** The broker has not been reached yet. */
  | 'connecting'
  /** The broker relays what this node sends and hears. */
  | 'up'
  /** The broker is there, but something does not work: see the `degraded` event. */
  | 'degraded'
  /** The broker is away. */
  | 'down';

/** What is known about a node. */
export interface NodeInfo {
  /** Random, new for each pool. */
  readonly id: string;
  readonly name: string;
  /** The newest version of the wire format that it speaks. */
  readonly version: number;
  /** Connections that it holds. */
  readonly connections: number;
  /** Namespaces that it has connections in. */
  readonly namespaces: number;
  /** It takes no newcomers: a drain has begun. It stays so when the drain is done. */
  readonly draining: boolean;
  /** What it is about to close; `undefined` if it closes nothing. */
  readonly drain: NodeDrain | undefined;
  /** How long ago it was last heard, in ms; 0 for this node. */
  readonly lastSeenMs: number;
}

/** A drain that goes on. */
export interface NodeDrain {
  /** Connections that the node had not closed yet when it was last heard. */
  readonly remaining: number;
  /** Its own rate; nodes that drain at the same time share the lowest one. `undefined` if a deadline sets the pace. */
  readonly maxPerSecond: number | undefined;
}

/** How a node came or went: it said goodbye (`left`), or it was silent for `nodeTimeout` (`lost`). */
export type NodeChange = 'joined' | 'left' | 'lost';

/** Why the cluster is not `up` any more. */
export interface Degradation {
  /** What does not work. */
  readonly stage: 'connect' | 'subscribe' | 'publish' | 'receive';
  readonly error: Error | undefined;
  /** How long that went on before it was noticed, in ms. */
  readonly sinceMs: number;
}

/** The cluster is `up` again. */
export interface Recovery {
  /** Since the `degraded` event, in ms. */
  readonly tookMs: number;
  /** Messages of this node that were not relayed meanwhile. */
  readonly dropped: number;
  /** Batches of other nodes that were lost meanwhile, as far as is known by now. */
  readonly gaps: number;
}

/** The sum of the answers of all nodes. */
export interface ClusterCount {
  /** Open connections on all nodes that have answered, this one included. */
  readonly total: number;
  /** Nodes that have answered, this one included. */
  readonly answered: number;
  /** Nodes that have not: `timeout`, or gone before they could (`left`). */
  readonly missing: readonly {
    readonly id: string;
    readonly name: string;
    readonly reason: 'timeout' | 'left';
  }[];
}
