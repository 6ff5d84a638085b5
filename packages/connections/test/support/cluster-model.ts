import assert from 'node:assert/strict';
import { expect } from 'vitest';
import type { ClusterAdapter } from '../../src/cluster/adapter.js';
import { FakeCluster, pass, passUntilConfirmed, type FakeNode } from './cluster-nodes.js';
import type { Random } from './random.js';
import { unordered } from './unordered-adapter.js';

const NAMESPACES = ['x', 'y', 'z'];
const IDS = ['1', '2', '3', '4', '5', '6'];
const ROOMS = ['red', 'blue'];

/** A broadcast or a send, as the model remembers it. */
interface Said {
  readonly sender: FakeNode;
  readonly number: number;
  readonly namespace: string;
  readonly isMeant: (id: string, rooms: ReadonlySet<string>) => boolean;
}

/** What a run may do to the cluster. */
export interface ModelFaults {
  readonly isExclusive: boolean;
  /** Messages are lost or duplicated on their way. */
  readonly isLossy: boolean;
  /** Nodes see the messages of different nodes in different orders, as over NATS. */
  readonly isUnordered?: boolean;
}

/**
 * Random calls and faults on two to five nodes of a memory bus, and what must always be true: no message reaches the
 * wrong connection, none arrives twice, and the messages of one node arrive in the order of its calls.
 */
export class ClusterModel {
  readonly #random: Random;
  readonly #cluster: FakeCluster;
  readonly #faults: ModelFaults;
  readonly #said: Said[] = [];
  readonly #away = new Set<ClusterAdapter>();
  #isStopped = false;
  #isQuiet = false;
  #names = 0;

  constructor(random: Random, faults: ModelFaults) {
    this.#random = random;
    this.#faults = faults;
    const copies = (): number => {
      if (this.#isQuiet || !faults.isLossy) return 1;
      return random.weighted([
        [96, 1],
        [2, 0],
        [2, 2],
      ])[0];
    };
    const { isExclusive, isUnordered = false } = faults;
    const wrap = isUnordered ? (adapter: ClusterAdapter) => unordered(adapter, random) : undefined;
    const traits = { totalOrder: !isUnordered };
    this.#cluster = new FakeCluster({ copies, ...traits }, {}, { isExclusive, ...(wrap && { wrap }) });
  }

  async run(steps: number): Promise<void> {
    for (let count = 2 + this.#random.below(3); count > 0; count--) this.#start();
    await pass(500);
    for (let step = 0; step < steps; step++) {
      const [act] = this.#random.weighted<[() => Promise<void> | void]>([
        [6, () => this.#join()],
        [3, () => this.#leave()],
        [20, () => this.#broadcast()],
        [6, () => this.#send()],
        [1, () => this.#cut()],
        [3, () => this.#mend()],
        [0.5, () => this.#stop()],
        [0.5, () => this.#deafen()],
        [0.3, () => this.#die()],
        [0.3, () => this.#start()],
        [20, () => pass(this.#random.below(20))],
        [2, () => pass(this.#random.below(3_000))],
      ]);
      await act();
    }
    await this.#settle();
    await passUntilConfirmed(() => this.#nodes.map(({ node }) => node.stats().queuedBytes));
    this.#assertDeliveries();
    await this.#assertQuiet();
  }

  get #nodes(): FakeNode[] {
    return this.#cluster.nodes;
  }

  #start(): void {
    if (this.#nodes.length < 5) this.#cluster.add({ nodeName: `node ${this.#names++}` });
  }

  #join(): void {
    const [namespace, id] = [this.#random.pick(NAMESPACES), this.#random.pick(IDS)];
    const node = this.#random.pick(this.#nodes);
    if (node.member(namespace, id) !== undefined) return;
    void node.join(namespace, id, ...ROOMS.filter(() => this.#random.chance(0.5)));
  }

  #leave(): void {
    this.#random.pick(this.#nodes).leave(this.#random.pick(NAMESPACES), this.#random.pick(IDS));
  }

  #broadcast(): void {
    const rooms = this.#random.chance(0.7) ? undefined : ROOMS.filter(() => this.#random.chance(0.6));
    const exceptions = this.#random.chance(0.7) ? [] : [this.#random.pick(IDS)];
    const exceptRooms = this.#random.chance(0.9) ? [] : [this.#random.pick(ROOMS)];
    const [sender, namespace] = [this.#random.pick(this.#nodes), this.#random.pick(NAMESPACES)];
    const number = this.#say(sender, namespace, (id, own) => {
      if (exceptions.includes(id) || exceptRooms.some((room) => own.has(room))) return false;
      return rooms?.some((room) => own.has(room)) ?? true;
    });
    sender.broadcast(namespace, `${number}`, { rooms, exceptRooms, exceptions });
  }

  #send(): void {
    const [sender, namespace] = [this.#random.pick(this.#nodes), this.#random.pick(NAMESPACES)];
    const id = this.#random.pick(IDS);
    const number = this.#say(sender, namespace, (own) => own === id);
    void sender.sendRemote(namespace, id, `${number}`);
  }

  #say(sender: FakeNode, namespace: string, isMeant: Said['isMeant']): number {
    return this.#said.push({ sender, number: this.#said.length, namespace, isMeant }) - 1;
  }

  #cut(): void {
    const { adapter } = this.#random.pick(this.#nodes);
    this.#away.add(adapter);
    this.#cluster.bus.cut(adapter);
  }

  #mend(): void {
    if (this.#isStopped) this.#cluster.bus.start();
    this.#isStopped = false;
    for (const adapter of this.#away) this.#cluster.bus.mend(adapter);
    this.#away.clear();
  }

  #stop(): void {
    this.#isStopped = true;
    this.#cluster.bus.stop();
  }

  #deafen(): void {
    this.#cluster.bus.deafen(this.#random.pick(this.#nodes).adapter);
  }

  /** The process of a node ends without leaving the cluster. */
  #die(): void {
    if (this.#nodes.length <= 2) return;
    const [node] = this.#nodes.splice(this.#random.below(this.#nodes.length), 1);
    this.#cluster.bury(node!);
    this.#away.delete(node!.adapter);
  }

  /** All faults end, and nodes that have missed something learn of it from the next messages. */
  async #settle(): Promise<void> {
    this.#isQuiet = true;
    this.#mend();
    await pass(60_000);
    for (const node of this.#nodes) for (const namespace of NAMESPACES) this.#hush(node, namespace);
    await pass(10_000);
  }

  #hush(sender: FakeNode, namespace: string): void {
    const number = this.#say(sender, namespace, () => true);
    sender.broadcast(namespace, `${number}`);
  }

  #assertDeliveries(): void {
    for (const { namespace, id, rooms, received } of this.#cluster.nodes.flatMap(
      (node) => node.everyMember,
    )) {
      const seen = received.map((text) => this.#said[Number(text)]!);
      for (const said of seen) {
        assert.equal(said.namespace, namespace);
        assert(said.isMeant(id, rooms));
      }
      const last = new Map<FakeNode, number>();
      for (const { sender, number } of seen) {
        // Greater, not equal: nothing arrives twice.
        assert(number > (last.get(sender) ?? -1));
        last.set(sender, number);
      }
    }
  }

  async #assertQuiet(): Promise<void> {
    const ids = new Set(this.#nodes.map(({ node }) => node.id));
    const wanted = new Set<string>(['a', ...[...ids].map((id) => `n${id}`)]);
    for (const { node, members } of this.#nodes) {
      expect(node.state).toBe('up');
      expect(node.stats()).toMatchObject({ queuedBytes: 0, invalid: 0, unknown: 0 });
      expect(new Set(node.infos.map(({ id }) => id))).toEqual(ids);
      for (const namespace of members.keys()) wanted.add(`s${namespace}`);
    }
    expect(new Set(this.#cluster.bus.channels)).toEqual(wanted);
    for (const namespace of NAMESPACES) {
      const holders = this.#nodes.filter(({ members }) => members.has(namespace));
      expect(this.#cluster.bus.subscribers(`s${namespace}`)).toBe(holders.length);
      await this.#assertHolders(namespace);
    }
    for (const node of this.#nodes) this.#assertEvents(node);
  }

  async #assertHolders(namespace: string): Promise<void> {
    const [asker] = this.#nodes as [FakeNode];
    const count = asker.node.outgoing.count(namespace, undefined);
    await pass(50);
    const held = this.#nodes.flatMap(({ members }) => [...(members.get(namespace)?.keys() ?? [])]);
    expect(await count).toMatchObject({ total: held.length, missing: [] });
    if (this.#faults.isExclusive) expect(new Set(held).size).toBe(held.length);
  }

  /** One `degraded` event for each time that it was not up, and one `recovered` event for each return. */
  #assertEvents({ events }: FakeNode): void {
    const falls = events.map(([kind]) => kind).filter((kind) => kind === 'degraded' || kind === 'recovered');
    expect(falls).toEqual(falls.map((_, index) => (index % 2 === 0 ? 'degraded' : 'recovered')));
    expect(falls.length % 2).toBe(0);
  }
}
