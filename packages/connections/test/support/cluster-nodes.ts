import { afterEach, vi } from 'vitest';
import { ClusterNode } from '../../src/cluster/cluster-node.js';
import type { ClusterAdapter } from '../../src/cluster/adapter.js';
import { resolveClusterOptions, type ClusterOptions } from '../../src/cluster/cluster-options.js';
import type { Degradation, NodeChange, NodeInfo, Recovery } from '../../src/cluster/cluster-info.js';
import type { LocalNode } from '../../src/cluster/local-node.js';
import { EVERYBODY, type Target } from '../../src/cluster/wire.js';
import type { Closing } from '../../src/close-codes.js';
import { ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { memoryBus, type MemoryBus, type MemoryBusOptions } from '../../src/testing.js';
import { encodeFrame, type Frame } from '../../src/wire/frame.js';
import { useFakeClock } from './fake-clock.js';

/** A member of a fake pool. */
export interface FakeMember {
  readonly namespace: string;
  readonly id: string;
  readonly received: string[];
  readonly rooms: Set<string>;
  closedWith: number | undefined;
}

/** Everything that a fake pool was told. */
export type ClusterEvent =
  | readonly ['node', string, NodeChange]
  | readonly ['degraded', Degradation['stage']]
  | readonly ['recovered', Recovery]
  | readonly ['error', Error];

export interface FakeNodeKind {
  readonly isExclusive?: boolean;
  readonly bootId?: Buffer;
  /** Replaces the adapter of the bus for this node. */
  readonly wrap?: (adapter: ClusterAdapter) => ClusterAdapter;
}

/** One node with a pool that only remembers: members and rooms in maps, text messages in arrays. */
export class FakeNode implements LocalNode {
  readonly node: ClusterNode;
  readonly adapter: ClusterAdapter;
  readonly members = new Map<string, Map<string, FakeMember>>();
  readonly events: ClusterEvent[] = [];
  draining: LocalNode['draining'];
  #isScheduled = false;

  constructor(
    adapter: ClusterAdapter,
    options: ClusterOptions = {},
    { isExclusive = false, bootId, wrap = (inner) => inner }: FakeNodeKind = {},
  ) {
    this.adapter = adapter;
    const settings = resolveClusterOptions(options);
    const schedule = (): void => this.#schedule();
    this.node = new ClusterNode({
      adapter: wrap(adapter),
      settings,
      local: this,
      isExclusive,
      schedule,
      bootId,
    });
  }

  get connections(): number {
    return [...this.members.values()].reduce((sum, { size }) => sum + size, 0);
  }

  get namespaces(): number {
    return this.members.size;
  }

  /** Includes members that have left. */
  readonly everyMember: FakeMember[] = [];

  /** Adds a member, as a pool does. */
  join(namespace: string, id: string, ...rooms: readonly string[]): Promise<void> {
    let members = this.members.get(namespace);
    if (members === undefined) this.members.set(namespace, (members = new Map<string, FakeMember>()));
    members.set(id, { namespace, id, received: [], rooms: new Set(rooms), closedWith: undefined });
    this.everyMember.push(members.get(id)!);
    return this.node.joined(namespace, id);
  }

  /** The member leaves. */
  leave(namespace: string, id: string): void {
    const members = this.members.get(namespace);
    if (members?.delete(id) !== true) return;
    this.node.gone(namespace, id);
    if (members.size > 0) return;
    this.members.delete(namespace);
    this.node.emptied(namespace);
  }

  member(namespace: string, id: string): FakeMember | undefined {
    return this.members.get(namespace)?.get(id);
  }

  /** A broadcast to this node and the others. */
  broadcast(namespace: string, text: string, target: Partial<Target> = {}): void {
    const frame = encodeFrame(text);
    this.deliver(namespace, { ...EVERYBODY, ...target }, [frame]);
    this.node.outgoing.broadcast(namespace, { ...EVERYBODY, ...target }, frame);
  }

  sendRemote(namespace: string, id: string, text: string): Promise<boolean> {
    return this.node.outgoing.send(namespace, id, encodeFrame(text), undefined, undefined);
  }

  deliver(namespace: string, target: Target, frames: readonly Frame[]): void {
    for (const [id, member] of this.members.get(namespace) ?? []) {
      if (!isMeant(id, member, target)) continue;
      for (const frame of frames) member.received.push(frame.payload.toString());
      if (target.close) member.closedWith = target.close.code;
    }
  }

  send(namespace: string, id: string, frame: Frame): Promise<boolean> | undefined {
    const member = this.member(namespace, id);
    if (member === undefined) return undefined;
    member.received.push(frame.payload.toString());
    return Promise.resolve(true);
  }

  close(namespace: string, id: string, { code }: Closing): boolean {
    const member = this.member(namespace, id);
    if (member !== undefined) member.closedWith = code;
    return member !== undefined;
  }

  closeAll(namespace: string, target: Target): void {
    this.deliver(namespace, target, []);
  }

  has(namespace: string, id: string): boolean {
    return this.member(namespace, id) !== undefined;
  }

  count(namespace: string, rooms: readonly string[] | undefined): number {
    const members = [...(this.members.get(namespace)?.values() ?? [])];
    return members.filter((member) => rooms?.some((room) => member.rooms.has(room)) ?? true).length;
  }

  replace(namespace: string, id: string): void {
    this.leave(namespace, id);
  }

  onNode({ id }: NodeInfo, change: NodeChange): void {
    this.events.push(['node', id, change]);
  }

  onDegraded({ stage }: Degradation): void {
    this.events.push(['degraded', stage]);
  }

  onRecovered(recovery: Recovery): void {
    this.events.push(['recovered', recovery]);
  }

  onError(error: Error): void {
    this.events.push(['error', error]);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.node.flush();
    });
  }
}

function isMeant(id: string, member: FakeMember, { rooms, exceptRooms, exceptions }: Target): boolean {
  if (exceptions.includes(id) || exceptRooms.some((room) => member.rooms.has(room))) return false;
  return rooms?.some((room) => member.rooms.has(room)) ?? true;
}

/** Longer than a node waits for the broker when it leaves, in ms. */
const LEAVING_MS = 6_000;

const clusters: { leave(): Promise<void> }[] = [];

/** To be used with `useFakeClusters`, which moves the clock until all have left. */
export function leavesAfterTest(cluster: { leave(): Promise<void> }): void {
  clusters.push(cluster);
}

/** Runs all tests of the surrounding `describe` with a fake clock, and ends all their clusters with them. */
export function useFakeClusters(): void {
  useFakeClock();
  afterEach(async () => {
    // Together: while one left after the other, the rest went on with their heartbeats.
    const left = Promise.all(clusters.splice(0).map((cluster) => cluster.leave()));
    await pass(LEAVING_MS);
    await left;
  });
}

/** Nodes of one bus. To be used with `useFakeClusters`. */
export class FakeCluster {
  readonly bus: MemoryBus;
  readonly nodes: FakeNode[] = [];
  readonly #options: ClusterOptions;
  readonly #kind: FakeNodeKind;

  constructor(bus: MemoryBusOptions = {}, options: ClusterOptions = {}, kind: FakeNodeKind = {}) {
    this.bus = memoryBus(bus);
    this.#options = options;
    this.#kind = kind;
    leavesAfterTest(this);
  }

  add(options: ClusterOptions = {}, kind = this.#kind): FakeNode {
    const node = new FakeNode(this.bus.adapter(), { ...this.#options, ...options }, kind);
    this.nodes.push(node);
    return node;
  }

  /** The process of a node ends without leaving the cluster. */
  bury(node: FakeNode): void {
    this.bus.cut(node.adapter);
    void node.node.leave();
  }

  /** Starts that many nodes, and waits until they know each other. */
  async start<Length extends 1 | 2 | 3>(length: Length): Promise<Tuple[Length]> {
    const nodes = Array.from({ length }, (_, index) => this.add({ nodeName: `node ${index}` }));
    await pass(500);
    return nodes as unknown as Tuple[Length];
  }

  async leave(): Promise<void> {
    await Promise.all(this.nodes.map(({ node }) => node.leave()));
  }
}

interface Tuple {
  1: [FakeNode];
  2: [FakeNode, FakeNode];
  3: [FakeNode, FakeNode, FakeNode];
}

/** Pools of one bus that know each other. To be used with `useFakeClusters`. */
export async function poolsOn<Length extends number>(
  bus: MemoryBus,
  length: Length,
  options: ConnectionsPoolOptions = {},
): Promise<readonly ConnectionsPool[] & { length: Length }> {
  const pools = Array.from(
    { length },
    (_, index) =>
      new ConnectionsPool({
        ...options,
        adapter: bus.adapter(),
        cluster: { nodeName: `node ${index}`, ...options.cluster },
      }),
  );
  for (const { cluster } of pools) leavesAfterTest(cluster);
  await pass(500);
  return pools as unknown as readonly ConnectionsPool[] & { length: Length };
}

/** A node may have published a heartbeat at the last moment. Advances the fake clock until the broker has confirmed it. */
export async function passUntilConfirmed(queuedBytes: () => readonly number[]): Promise<void> {
  for (let ms = 0; ms < 20 && Math.max(...queuedBytes()) > 0; ms++) await pass(1);
}

/** Advances the fake clock. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}
