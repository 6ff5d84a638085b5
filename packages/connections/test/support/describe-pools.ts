import { describe, expect, test } from 'vitest';
import { ConnectionsPool, type ClusterAdapter, type Degradation, type Recovery } from '../../src/index.js';
import { connectInMemory, type MemorySocket } from './memory-socket.js';
import { failOnUncaught } from './no-uncaught.js';
import { onTestFinished } from './on-test-finished.js';

/*
 * What users of pools see of an adapter: two nodes, and outages of the broker between them.
 */

export interface PoolsHarness {
  /** An adapter over a new connection. */
  adapter(): Promise<{ readonly adapter: ClusterAdapter; readonly end: () => Promise<void> | void }>;
  readonly broker?: { readonly kill: () => Promise<void>; readonly start: () => Promise<void> };
}

/** Short, so that a brief outage is noticed; long enough for a slow machine. */
const CLUSTER = { heartbeat: 200, nodeTimeout: 2_000, requestTimeout: 1_000, maxQueuedMs: 200 };
const WAIT = { timeout: 10_000 };
const OUTAGE_MS = 500;

class Node {
  readonly pool: ConnectionsPool;
  readonly degraded: Degradation[] = [];
  readonly recovered: Recovery[] = [];
  readonly errors: unknown[] = [];

  constructor(adapter: ClusterAdapter, nodeName: string) {
    this.pool = new ConnectionsPool({ adapter, onDuplicate: 'replace', cluster: { ...CLUSTER, nodeName } });
    this.pool.on('degraded', (degradation) => this.degraded.push(degradation));
    this.pool.on('recovered', (recovery) => this.recovered.push(recovery));
    this.pool.on('error', (error) => this.errors.push(error));
  }

  /** A new member of the namespace. */
  async join(id: string): Promise<MemorySocket> {
    const { socket, connection } = connectInMemory(id);
    await this.pool.newConnection(connection);
    return socket;
  }

  untilUp = () => expect.poll(() => this.pool.cluster.state, WAIT).toBe('up');
}

/** Runs pools with an adapter. */
export function describePools(title: string, harness: PoolsHarness): void {
  async function startNodes(): Promise<[Node, Node]> {
    const start = async (name: string): Promise<Node> => {
      const { adapter, end } = await harness.adapter();
      const node = new Node(adapter, name);
      onTestFinished(async () => {
        await node.pool.cluster.leave();
        await end();
      });
      return node;
    };
    const nodes: [Node, Node] = [await start('one'), await start('other')];
    for (const node of nodes) await node.untilUp();
    for (const { pool } of nodes) await expect.poll(() => pool.cluster.nodes.size, WAIT).toBe(2);
    return nodes;
  }
  const texts = ({ sent }: MemorySocket): string[] => sent.map(String);

  describe(title, () => {
    failOnUncaught();

    test(`broadcasts, sends, counts and closes reach members of other nodes, in order: ${title}`, async () => {
      const [one, other] = await startNodes();
      const [here, there] = [await one.join('here'), await other.join('there')];
      await expect
        .poll(() => [...one.pool.cluster.nodes.values()].map(({ connections }) => connections), WAIT)
        .toEqual([1, 1]);
      for (let index = 0; index < 20; index++) void one.pool.broadcastMessage('default', `b${index}`);
      expect(await one.pool.send('default', 'there', 'private')).toBe(true);
      expect(await one.pool.send('default', 'nobody', 'private')).toBe(false);
      const broadcasts = Array.from({ length: 20 }, (_, index) => `b${index}`);
      expect(texts(there)).toEqual([...broadcasts, 'private']);
      expect(texts(here)).toEqual(broadcasts);
      expect(await other.pool.cluster.count('default')).toEqual({ total: 2, answered: 2, missing: [] });
      expect(await one.pool.cluster.has('default', 'there')).toBe(true);
      await one.pool.close('default', 'there', 4000, 'bye');
      await expect.poll(() => there.closes, WAIT).toEqual([{ code: 4000, reason: 'bye' }]);
    });

    test(`a second connection with the same id on another node replaces the first: ${title}`, async () => {
      const [one, other] = await startNodes();
      const first = await one.join('same');
      await other.join('same');
      await expect.poll(() => first.closes.map(({ code }) => code), WAIT).toEqual([4409]);
    });

    test(`one connection stays of each id that joins two nodes at the same moment: ${title}`, async () => {
      const nodes = await startNodes();
      const sockets = await Promise.all(
        Array.from({ length: 30 }, (_, id) => Promise.all(nodes.map((node) => node.join(`${id}`)))),
      );
      const open = () => sockets.map((both) => both.filter(({ closes }) => closes.length === 0).length);
      await expect.poll(open, WAIT).toEqual(sockets.map(() => 1));
      for (const { pool } of nodes)
        await expect.poll(() => pool.namespace('default').size).toBeLessThanOrEqual(30);
      expect(await nodes[0].pool.cluster.count('default')).toMatchObject({ total: 30, missing: [] });
    });

    test(`the other nodes learn at once that a node has left: ${title}`, async () => {
      const [one, other] = await startNodes();
      await other.pool.cluster.leave();
      expect(other.pool.cluster.state).toBe('alone');
      await expect.poll(() => one.pool.cluster.nodes.size, WAIT).toBe(1);
    });

    const { broker } = harness;
    if (broker === undefined) return;
    test(`an outage delays no local delivery, and each node emits one degraded and one recovered event: ${title}`, async () => {
      const [one, other] = await startNodes();
      const [here, there] = [await one.join('here'), await other.join('there')];
      await broker.kill();
      try {
        for (const { pool } of [one, other]) await expect.poll(() => pool.cluster.state, WAIT).toBe('down');
        const { recipients } = await one.pool.broadcastMessage('default', 'during the outage');
        expect([recipients, texts(here)]).toEqual([1, ['during the outage']]);
        expect(await one.pool.send('default', 'there', 'private')).toBe(false);
        await one.join('joined during the outage');
        await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
      } finally {
        await broker.start();
      }
      for (const node of [one, other]) await node.untilUp();
      await other.pool.broadcastMessage('default', 'after it');
      await expect.poll(() => texts(here).at(-1), WAIT).toBe('after it');
      await one.pool.broadcastMessage('default', 'back');
      await expect.poll(() => texts(there), WAIT).toEqual(['after it', 'back']);
      for (const { degraded, recovered } of [one, other]) {
        expect([degraded.length, recovered.length]).toEqual([1, 1]);
      }
      // The message of the outage was too old to be relayed. So may have been the news that the member joined.
      expect(one.recovered[0]!.dropped).toBeGreaterThan(0);
    });
  });
}
