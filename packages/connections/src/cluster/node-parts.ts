import type { ClusterAdapter } from './adapter.js';
import type { ClusterSettings } from './cluster-options.js';
import type { LocalNode } from './local-node.js';

/** What a node is made of. */
export interface ClusterNodeParts {
  readonly adapter: ClusterAdapter;
  readonly settings: ClusterSettings;
  readonly local: LocalNode;
  /** Only one connection of the whole cluster may have an id. */
  readonly isExclusive: boolean;
  /** Schedules a call of `flush` at the end of this turn of the event loop, before anything else is written. */
  readonly schedule: () => void;
  /** 8 bytes. For tests. */
  readonly bootId?: Buffer | undefined;
}
