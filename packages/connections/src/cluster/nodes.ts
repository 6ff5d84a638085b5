import { wheel } from '../liveness/timing-wheel.js';
import type { NodeChange, NodeDrain, NodeInfo } from './cluster-info.js';
import { Drainers } from './drainers.js';
import type { Presence, WireRecord } from './wire.js';

/** All nodes have answered a hello by then. */
const SETTLE_SHARE = 1 / 10;

interface Node {
  /** `undefined`: it was heard, but has not told about itself yet. */
  presence: Presence | undefined;
  seenAtMs: number;
}

/** What the other nodes do, for the cluster to pass on. */
export interface NodesOwner {
  changed(node: NodeInfo, change: NodeChange): void;
  /** Nothing need be remembered of it any more. */
  forgotten(id: string): void;
}

/** The other nodes of the cluster: each node decides by itself who is alive. */
export class Nodes {
  readonly #owner: NodesOwner;
  readonly #nodeTimeoutMs: number;
  readonly #nodes = new Map<string, Node>();
  /** Those that drain. */
  readonly drainers: Drainers;
  /** Until then no node is declared lost: it was this node that heard none of them for a while. */
  #graceUntilMs = 0;
  #settledAtMs = 0;

  constructor(nodeTimeoutMs: number, owner: NodesOwner) {
    this.#nodeTimeoutMs = nodeTimeoutMs;
    this.#owner = owner;
    this.drainers = new Drainers(nodeTimeoutMs);
  }

  /** Nodes that are there, apart from this one. */
  get infos(): NodeInfo[] {
    return [...this.#nodes].flatMap(([id, { presence, seenAtMs }]) =>
      presence === undefined ? [] : infoOf(id, presence, wheel.nowMs - seenAtMs),
    );
  }

  /** Nodes that have connections, or have had some. */
  get holders(): NodeInfo[] {
    return this.infos.filter(({ id }) => this.#nodes.get(id)?.presence?.isPublishOnly === false);
  }

  /** How long until all nodes have answered the hello of this one, in ms. */
  get settlesInMs(): number {
    return Math.max(0, this.#settledAtMs - wheel.nowMs);
  }

  /** Some other node may hold connections: one that does, or that has not told yet. */
  get mayHold(): boolean {
    if (this.settlesInMs > 0) return true;
    for (const { presence } of this.#nodes.values()) if (!presence?.isPublishOnly) return true;
    return false;
  }

  /** When the node was last heard, by the clock of the host; `undefined` if nothing is known of it. */
  seenAtMs(id: string): number | undefined {
    const node = this.#nodes.get(id);
    return node && Date.now() - (wheel.nowMs - node.seenAtMs);
  }

  /**
   * Something has come from the node. What it tells about itself counts from now on: a call of this turn must wait for
   * the answer of a node that has just got its first connection.
   */
  heard(id: string, records: readonly WireRecord[]): void {
    let node = this.#nodes.get(id);
    if (node === undefined) this.#nodes.set(id, (node = { presence: undefined, seenAtMs: 0 }));
    node.seenAtMs = wheel.nowMs;
    for (const record of records) {
      if (record.kind !== 'hello' && record.kind !== 'beat') continue;
      const isNew = node.presence === undefined;
      node.presence = record.presence;
      this.drainers.onPresence(id, record.presence.draining);
      if (isNew) this.#owner.changed(infoOf(id, record.presence, 0), 'joined');
    }
  }

  onBye(id: string): void {
    this.#remove(id, 'left');
  }

  /** This node hears the others from now on: for a while nobody is declared lost, and not everybody is known. */
  begin(): void {
    this.#graceUntilMs = wheel.nowMs + this.#nodeTimeoutMs;
    this.#settledAtMs = wheel.nowMs + this.#nodeTimeoutMs * SETTLE_SHARE;
  }

  /** Removes nodes that have been silent for too long. */
  sweep(): void {
    this.drainers.sweep(performance.now());
    const nowMs = wheel.nowMs;
    if (nowMs < this.#graceUntilMs) return;
    for (const [id, { seenAtMs }] of this.#nodes) {
      if (nowMs - seenAtMs >= this.#nodeTimeoutMs) this.#remove(id, 'lost');
    }
  }

  clear(): void {
    for (const id of [...this.#nodes.keys()]) this.#owner.forgotten(id);
    this.#nodes.clear();
    this.drainers.clear();
  }

  #remove(id: string, change: NodeChange): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    this.#nodes.delete(id);
    this.drainers.onGone(id);
    if (node.presence !== undefined) {
      this.#owner.changed(infoOf(id, node.presence, wheel.nowMs - node.seenAtMs), change);
    }
    this.#owner.forgotten(id);
  }
}

export function infoOf(id: string, presence: Presence, lastSeenMs: number): NodeInfo {
  const { name, maxVersion, connections, namespaces, draining } = presence;
  return {
    id,
    name,
    version: maxVersion,
    connections,
    namespaces,
    draining: draining !== undefined,
    drain: drainOf(draining),
    lastSeenMs,
  };
}

export function drainOf(draining: Presence['draining']): NodeDrain | undefined {
  if (draining === undefined || draining.remaining === 0) return undefined;
  return { remaining: draining.remaining, maxPerSecond: draining.maxPerSecond || undefined };
}
