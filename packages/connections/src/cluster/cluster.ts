import { assertNamespace } from '../arguments.js';
import { assertRoom } from '../audience.js';
import { assertKeys } from '../arguments.js';
import { expected } from '../errors.js';
import type { ClusterCount, ClusterState, NodeInfo } from './cluster-info.js';
import type { ClusterNode } from './cluster-node.js';
import { newClusterCounters, type ClusterStats } from './cluster-stats.js';

/** What a pool counts and holds without a cluster. */
export interface LocalFigures {
  readonly nodeId: string;
  readonly node: NodeInfo;
  count(namespace: string, rooms: readonly string[] | undefined): number;
  has(namespace: string, id: unknown): boolean;
}

/** The other nodes of a pool. It is always there: a pool without adapter is a cluster of one node. */
export class Cluster {
  readonly #node: ClusterNode | undefined;
  readonly #local: Pick<LocalFigures, 'count' | 'has'>;
  readonly #alone: () => NodeInfo;

  /** @internal */
  constructor(
    node: ClusterNode | undefined,
    local: Pick<LocalFigures, 'count' | 'has'>,
    alone: () => NodeInfo,
  ) {
    this.#node = node;
    this.#local = local;
    this.#alone = alone;
  }

  /** For metrics and alerts. Do not make readiness depend on it: a broker that is away would take every node out. */
  get state(): ClusterState {
    return this.#node?.state ?? 'alone';
  }

  /** The id of this node: random, new for each pool. */
  get nodeId(): string {
    return this.#node?.id ?? this.#alone().id;
  }

  /** All nodes that are known, this one included, by id. While the state is not `up` that is the last view. */
  get nodes(): ReadonlyMap<string, NodeInfo> {
    const infos = this.#node?.infos ?? [this.#alone()];
    return new Map(infos.map((info) => [info.id, info]));
  }

  /** What the cluster layer has done. Cheap: nothing is counted for it. */
  stats(): ClusterStats {
    return this.#node?.stats() ?? { ...newClusterCounters(), queuedBytes: 0 };
  }

  /**
   * Open connections of a namespace, or of one of its rooms, on all nodes. Never rejects for what the network does:
   * nodes that do not answer within `requestTimeout` are in `missing`.
   *
   * @throws {TypeError} (rejects) the namespace or the room is not a string, or an option is unknown
   */

  async count(
    namespace: string,
    options: { readonly room?: string | undefined } = {},
  ): Promise<ClusterCount> {
    assertNamespace(namespace);
    assertKeys('the options of count', options, ['room']);
    const { room } = options;
    if (room !== undefined) assertRoom('room', room);
    const rooms = room === undefined ? undefined : [room];
    if (this.#node !== undefined && this.state !== 'alone')
      return this.#node.outgoing.count(namespace, rooms);
    return { total: this.#local.count(namespace, rooms), answered: 1, missing: [] };
  }

  /**
   * Whether an open connection with the id is anywhere in the namespace. `false` also means that nobody confirmed it in
   * time.
   *
   * @throws {TypeError} (rejects) the namespace is not a string, or with an adapter the id is not
   */

  async has(namespace: string, id: unknown): Promise<boolean> {
    assertNamespace(namespace);
    if (this.#node !== undefined && typeof id !== 'string')
      throw new TypeError(expected('id to be a string', id));
    if (this.#local.has(namespace, id)) return true;
    if (this.#node === undefined || this.state === 'alone') return false;
    return this.#node.outgoing.has(namespace, id as string);
  }

  /**
   * Says goodbye to the other nodes and ends what the adapter has made. The pool goes on alone: its state is `alone`
   * when the call returns. `gracefulShutdown` calls it after the drain.
   *
   * @returns resolves when the adapter has closed, within 5 s; never rejects
   */
  leave(): Promise<void> {
    return this.#node?.leave() ?? Promise.resolve();
  }
}
