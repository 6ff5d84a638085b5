import { randomBytes } from 'node:crypto';
import { assertKeys, assertNamespace } from '../arguments.js';
import { assertRoom } from '../audience.js';
import { expected } from '../errors.js';
import type { ClusterCount, ClusterState, NodeInfo } from './cluster-info.js';
import type { ClusterNode } from './cluster-node.js';
import { newClusterCounters, type ClusterStats } from './cluster-stats.js';
import type { LocalNode } from './local-node.js';
import { drainOf } from './nodes.js';
import { VERSION } from './wire.js';

/** The other nodes of a pool. It is always there: a pool without adapter is a cluster of one node. */
export class Cluster {
  readonly #node: ClusterNode | undefined;
  readonly #local: LocalNode;
  readonly #name: string;
  #aloneId: string | undefined;

  constructor(node: ClusterNode | undefined, local: LocalNode, name: string) {
    this.#node = node;
    this.#local = local;
    this.#name = name;
  }

  /** For metrics and alerts. Do not make readiness depend on it: a broker that is away would take every node out. */
  get state(): ClusterState {
    return this.#node?.state ?? 'alone';
  }

  /** The id of this node: random, new for each pool. */
  get nodeId(): string {
    return this.#node?.id ?? (this.#aloneId ??= randomBytes(8).toString('hex'));
  }

  /** All nodes that are known, this one included, by id. While the state is not `up` that is the last view. */
  get nodes(): ReadonlyMap<string, NodeInfo> {
    const infos = this.#node?.infos ?? [this.#alone];
    return new Map(infos.map((info) => [info.id, info]));
  }

  /** What the cluster layer has done. Cheap: it only reads counters. */
  stats(): ClusterStats {
    return this.#node?.stats() ?? { ...newClusterCounters(), queuedBytes: 0 };
  }

  /**
   * Open connections of a namespace, or of one of its rooms, on all nodes. Never rejects because of the network:
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
    if (this.#node !== undefined && typeof id !== 'string') {
      throw new TypeError(expected('id to be a string', id));
    }
    if (this.#local.has(namespace, id as string)) return true;
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

  get #alone(): NodeInfo {
    const { connections, namespaces, draining } = this.#local;
    return {
      id: this.nodeId,
      name: this.#name,
      version: VERSION,
      connections,
      namespaces,
      draining: draining !== undefined,
      drain: drainOf(draining),
      lastSeenMs: 0,
    };
  }
}
