import assert from 'node:assert/strict';
import { expect } from 'vitest';
import { Connection, ConnectionsPool, type ClusterAdapter } from '../../src/index.js';
import { memoryBus, type MemoryBus } from '../../src/testing.js';
import { leavesAfterTest, pass, passUntilConfirmed } from './cluster-nodes.js';
import { MemorySocket } from './memory-socket.js';
import type { Random } from './random.js';

const NAMESPACES = ['x', 'y'];
const IDS = ['1', '2', '3', '4'];
const ROOMS = ['red', 'blue'];
const MAX_NODES = 4;
/** The message that everybody gets from every node once all faults have ended. */
const LAST = -1;

/** A client, from its connect to its disconnect. */
interface Client {
  readonly connection: Connection;
  readonly socket: MemorySocket;
  readonly rooms: readonly string[];
}

interface Node {
  readonly pool: ConnectionsPool;
  readonly adapter: ClusterAdapter;
  /** The `degraded` and `recovered` events, in order. */
  readonly falls: string[];
}

/** A message, and its addressees. */
interface Said {
  readonly sender: Node;
  readonly namespace: string;
  readonly isMeant: (client: Client) => boolean;
}

/**
 * Random calls of real pools on a memory bus, with the faults of a broker and of processes. `ClusterModel` does the same
 * to the cluster layer alone, faster.
 */
export class PoolModel {
  readonly #random: Random;
  readonly #isExclusive: boolean;
  readonly #bus: MemoryBus;
  readonly #nodes: Node[] = [];
  readonly #everyPool: ConnectionsPool[] = [];
  readonly #away = new Set<ClusterAdapter>();
  readonly #said: Said[] = [];
  readonly #clients = new Map<Connection, Client>();
  readonly #confirmed: Promise<readonly [number, boolean]>[] = [];
  #isQuiet = false;

  constructor(random: Random, { isExclusive, isLossy }: { isExclusive: boolean; isLossy: boolean }) {
    this.#random = random;
    this.#isExclusive = isExclusive;
    const copies = (): number => {
      if (this.#isQuiet || !isLossy) return 1;
      return random.weighted([
        [96, 1],
        [2, 0],
        [2, 2],
      ])[0];
    };
    this.#bus = memoryBus({ copies });
    leavesAfterTest(this);
  }

  async run(steps: number): Promise<void> {
    while (this.#nodes.length < 3) this.#start();
    await pass(500);
    for (let step = 0; step < steps; step++) {
      const [act] = this.#random.weighted<[() => Promise<void> | void]>([
        [8, () => this.#join()],
        [3, () => this.#disconnect()],
        [20, () => this.#broadcast()],
        [8, () => this.#send()],
        [2, () => this.#close()],
        [0.3, () => this.#closeAll()],
        [1, () => this.#cut()],
        [3, () => this.#mend()],
        [0.4, () => this.#bus.stop()],
        [0.4, () => this.#bus.deafen(this.#pick().adapter)],
        [0.2, () => this.#die()],
        [0.2, () => this.#leave()],
        [0.4, () => this.#start()],
        [20, () => pass(this.#random.below(20))],
        [2, () => pass(this.#random.below(3_000))],
      ]);
      await act();
    }
    await this.#settle();
    await passUntilConfirmed(() => this.#nodes.map(({ pool }) => pool.cluster.stats().queuedBytes));
    await this.#assertDeliveries();
    await this.#assertQuiet();
    const left = this.leave();
    await pass(6_000);
    await left;
    expect(this.#bus.channels).toEqual([]);
  }

  #pick(): Node {
    return this.#random.pick(this.#nodes);
  }

  #start(): void {
    if (this.#nodes.length >= MAX_NODES) return;
    const adapter = this.#bus.adapter();
    const onDuplicate = this.#isExclusive ? 'replace' : 'reject';
    const node: Node = { adapter, falls: [], pool: new ConnectionsPool({ adapter, onDuplicate }) };
    node.pool.on('degraded', () => node.falls.push('degraded'));
    node.pool.on('recovered', () => node.falls.push('recovered'));
    this.#nodes.push(node);
    this.#everyPool.push(node.pool);
  }

  #join(): void {
    const socket = new MemorySocket();
    const connection = new Connection(this.#random.pick(IDS), this.#random.pick(NAMESPACES), socket);
    const rooms = ROOMS.filter(() => this.#random.chance(0.5));
    connection.join(rooms);
    this.#clients.set(connection, { connection, socket, rooms });
    void this.#pick().pool.newConnection(connection);
  }

  #disconnect(): void {
    const open = [...this.#clients.values()].filter(({ connection }) => !connection.closed);
    if (open.length > 0) this.#random.pick(open).socket.end(1001);
  }

  #broadcast(): void {
    const node = this.#pick();
    const namespace = this.#random.pick(NAMESPACES);
    const rooms = this.#random.chance(0.7) ? undefined : ROOMS.filter(() => this.#random.chance(0.6));
    const exceptRooms = this.#random.chance(0.9) ? [] : [this.#random.pick(ROOMS)];
    const exceptions = this.#random.chance(0.7) ? [] : [this.#random.pick(IDS)];
    const number = this.#say(node, namespace, ({ connection, rooms: own }) => {
      if (exceptions.includes(connection.id) || exceptRooms.some((room) => own.includes(room))) return false;
      return rooms?.some((room) => own.includes(room)) ?? true;
    });
    const options = { exceptRooms, exceptions, ...(rooms && { rooms }) };
    const here = [...node.pool.namespace(namespace).values()];
    const meant = here.filter(
      (member) => !member.closed && this.#said[number]?.isMeant(this.#clientOf(member)),
    );
    void node.pool.broadcastMessage(namespace, `${number}`, options).then(({ recipients }) => {
      // Independent of the broker. Some members may have left before the end of the turn.
      assert.equal(recipients, meant.length);
    });
  }

  #send(): void {
    const node = this.#pick();
    const [namespace, id] = [this.#random.pick(NAMESPACES), this.#random.pick(IDS)];
    const number = this.#say(node, namespace, ({ connection }) => connection.id === id);
    this.#confirmed.push(node.pool.send(namespace, id, `${number}`).then((isSent) => [number, isSent]));
  }

  #say(sender: Node, namespace: string, isMeant: Said['isMeant']): number {
    return this.#said.push({ sender, namespace, isMeant }) - 1;
  }

  #close(): void {
    void this.#pick().pool.close(this.#random.pick(NAMESPACES), this.#random.pick(IDS));
  }

  #closeAll(): void {
    void this.#pick().pool.closeAll(this.#random.pick(NAMESPACES), { rooms: this.#random.pick(ROOMS) });
  }

  #cut(): void {
    const { adapter } = this.#pick();
    this.#away.add(adapter);
    this.#bus.cut(adapter);
  }

  #mend(): void {
    this.#bus.start();
    for (const adapter of this.#away) this.#bus.mend(adapter);
    this.#away.clear();
  }

  /** The process of a node ends without leaving the cluster. Its clients lose their sockets. */
  #die(): void {
    if (this.#nodes.length <= 2) return;
    const [node] = this.#nodes.splice(this.#random.below(this.#nodes.length), 1) as [Node];
    this.#bus.cut(node.adapter);
    this.#away.delete(node.adapter);
    for (const { socket } of this.#clientsOf(node)) socket.end(1006);
    void node.pool.cluster.leave();
  }

  #leave(): void {
    if (this.#nodes.length <= 2) return;
    const [node] = this.#nodes.splice(this.#random.below(this.#nodes.length), 1) as [Node];
    this.#away.delete(node.adapter);
    for (const { socket } of this.#clientsOf(node)) socket.end(1001);
    void node.pool.cluster.leave();
  }

  async #settle(): Promise<void> {
    this.#isQuiet = true;
    this.#mend();
    await pass(60_000);
    // Nodes that have missed something learn of it from the next messages.
    for (const { pool } of this.#nodes)
      for (const namespace of NAMESPACES) void pool.broadcastMessage(namespace, `${LAST}`);
    await pass(10_000);
  }

  async #assertDeliveries(): Promise<void> {
    const delivered = new Set<number>();
    for (const client of this.#clients.values()) {
      const last = new Map<Node, number>();
      for (const number of client.socket.sent.map(Number)) {
        if (number === LAST) continue;
        const said = this.#said[number]!;
        assert.equal(said.namespace, client.connection.namespace);
        assert(said.isMeant(client));
        // In the order of the calls, and each at most once.
        assert(number > (last.get(said.sender) ?? -1));
        last.set(said.sender, number);
        delivered.add(number);
      }
    }
    for (const [number, isSent] of await Promise.all(this.#confirmed))
      if (isSent) assert(delivered.has(number), `message ${number} was confirmed`);
  }

  async #assertQuiet(): Promise<void> {
    const ids = this.#nodes.map(({ pool }) => pool.cluster.nodeId);
    const channels = new Set(['a', ...ids.map((id) => `n${id}`)]);
    for (const { pool, falls } of this.#nodes) {
      expect(pool.cluster.state).toBe('up');
      expect(pool.cluster.stats()).toMatchObject({ queuedBytes: 0, invalid: 0, unknown: 0 });
      expect([...pool.cluster.nodes.keys()].sort()).toEqual([...ids].sort());
      for (const namespace of pool.connections.keys()) channels.add(`s${namespace}`);
      expect(falls).toEqual(falls.map((_, index) => (index % 2 === 0 ? 'degraded' : 'recovered')));
      expect(falls.length % 2).toBe(0);
    }
    for (const { connection, socket } of this.#clients.values()) {
      if (connection.closed) continue;
      assert.equal(socket.sent.filter((text) => text === `${LAST}`).length, this.#nodes.length);
    }
    expect([...this.#bus.channels].sort()).toEqual([...channels].sort());
    for (const namespace of NAMESPACES) {
      const held = this.#nodes.flatMap(({ pool }) => [...pool.namespace(namespace).keys()]);
      if (this.#isExclusive) expect(new Set(held).size).toBe(held.length);
      const count = this.#pick().pool.cluster.count(namespace);
      await pass(50);
      // Nodes that have never had a connection are not waited for.
      expect(await count).toMatchObject({ total: held.length, missing: [] });
    }
  }

  /** Also called after a failure: running work would disturb the tests that follow. */
  async leave(): Promise<void> {
    for (const { socket } of this.#clients.values()) socket.end(1001);
    await Promise.all(this.#everyPool.map((pool) => pool.cluster.leave()));
  }

  #clientsOf({ pool }: Node): Client[] {
    return NAMESPACES.flatMap((namespace) => [...pool.namespace(namespace).values()]).map((connection) =>
      this.#clientOf(connection),
    );
  }

  #clientOf(connection: Connection): Client {
    return this.#clients.get(connection)!;
  }
}
