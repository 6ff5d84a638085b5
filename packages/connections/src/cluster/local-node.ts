import type { Frame } from '../wire/frame.js';
import type { Degradation, NodeChange, NodeInfo, Recovery } from './cluster-info.js';
import type { Closing } from '../close-codes.js';
import type { Target } from './wire.js';

/**
 * The pool, as the cluster layer sees it: the connections of this node. Called at the end of a turn only, never from
 * within a callback of the broker's client. Ids are strings.
 */
export interface LocalNode {
  readonly connections: number;
  readonly namespaces: number;
  /** Connections still to be closed, and at which rate: 0 for none. `undefined` while the pool takes newcomers. */
  readonly draining: { readonly remaining: number; readonly maxPerSecond: number } | undefined;
  /** Broadcasts frames to the members of this node, and then closes them if the target says so. */
  deliver(namespace: string, target: Target, frames: readonly Frame[]): void;
  /** @returns `undefined` if no open connection of this node has the id; otherwise whether it was handed over */
  send(
    namespace: string,
    id: string,
    frame: Frame,
    conflate: string | undefined,
    close: Closing | undefined,
  ): Promise<boolean> | undefined;
  /** Begins to close the connection. @returns whether this node has it, open */
  close(namespace: string, id: string, close: Closing): boolean;
  /** Begins to close the members of this node. */
  closeAll(namespace: string, target: Target): void;
  has(namespace: string, id: string): boolean;
  /** Open members of these rooms on this node. */
  count(namespace: string, rooms: readonly string[] | undefined): number;
  /** A newer connection on another node has taken the id. */
  replace(namespace: string, id: string): void;

  // Events. None of these throws.
  onNode(node: NodeInfo, change: NodeChange): void;
  onDegraded(degradation: Degradation): void;
  onRecovered(recovery: Recovery): void;
  onError(error: Error): void;
}
