import { describe, expect, test, vi } from 'vitest';
import { ConnectionsPool, type DrainOptions } from '../../src/index.js';
import type { MemoryBus } from '../../src/testing.js';
import { FakeNode, leavesAfterTest, pass, useFakeClusters } from '../support/cluster-nodes.js';
import { closesOfAll, DrainingNode, drainingNodes, untilDrained } from '../support/draining-nodes.js';
import { Random } from '../support/random.js';
import { isCi, runs } from '../support/runs.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { busiestSecond, TimedSocket } from '../support/timed-pool.js';

/** Closes that began between these two times, in ms from the start. */
const closesBetween = (nodes: readonly DrainingNode[], fromMs: number, toMs: number): number =>
  closesOfAll(nodes).filter((atMs) => atMs >= fromMs && atMs < toMs).length;

/** When the second of two nodes starts to drain. */
const SOME_MS = [1, 251, 1_300, 3_050];
const OTHERS_MS = [0, 100, 249, 400, 999, 1_001];

describe('drains of several nodes over minutes', () => {
  useFakeClusters();

  test.each<[string, DrainOptions]>([
    ['in whole batches', { maxPerSecond: 10, interval: 1_000 }],
    ['in slices', { maxPerSecond: 10 }],
    ['in slices at random', { maxPerSecond: 10, jitter: 1 }],
  ])('nodes that start to drain at the same moment share one rate, %s', async (_, options) => {
    // Each of them used the whole rate: two pods that went down together caused twice the reconnects.
    const { nodes } = await drainingNodes([30, 30, 30]);
    for (const node of nodes) node.drain(options);
    const beganMs = performance.now();
    await untilDrained(nodes, 30_000);
    expect(nodes.map(({ report }) => report?.closed)).toEqual([30, 30, 30]);
    expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(10);
    // 90 at 10 per second, the time before the first close, and a fiftieth for the window.
    expect(performance.now() - beganMs).toBeLessThan('jitter' in options ? 20_000 : 11_500);
  });

  test('nodes never close more than the rate in a second, whenever the second node starts to drain', async () => {
    for (const afterMs of isCi ? [...SOME_MS, ...OTHERS_MS] : SOME_MS) {
      const { nodes } = await drainingNodes([40, 10]);
      const [first, second] = nodes as [DrainingNode, DrainingNode];
      first.drain({ maxPerSecond: 10, interval: 1_000 });
      await pass(afterMs);
      second.drain({ maxPerSecond: 10, interval: 1_000 });
      await untilDrained(nodes, 60_000);
      expect(nodes.map(({ report }) => report?.closed)).toEqual([40, 10]);
      expect(busiestSecond(closesOfAll(nodes)), `after ${afterMs} ms`).toBeLessThanOrEqual(10);
      // Their heartbeats would go on beside the next two.
      for (const { pool } of nodes) void pool.cluster.leave();
    }
  });

  test('a node that starts to drain right after another one has finished counts its last second', async () => {
    const { nodes } = await drainingNodes([20, 20]);
    const [first, second] = nodes as [DrainingNode, DrainingNode];
    first.drain({ maxPerSecond: 20, interval: 1_000 });
    await untilDrained([first], 5_000);
    void first.pool.cluster.leave();
    second.drain({ maxPerSecond: 20, interval: 1_000 });
    await untilDrained([second], 5_000);
    expect(second.report?.closed).toBe(20);
    expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(20);
  });

  test.each<[string, (node: DrainingNode, bus: MemoryBus) => void, number]>([
    ['is done', (node) => void node.pool.closeAll('x', { local: true }), 1_250],
    ['leaves', (node) => void node.pool.cluster.leave(), 1_250],
    ['dies', (node, bus) => bus.cut(node.adapter), 10_000 + 1_250],
  ])('a draining node that %s gives its share back', async (_, end, afterMs) => {
    const { nodes, bus } = await drainingNodes([150, 60]);
    const [first, second] = nodes as [DrainingNode, DrainingNode];
    for (const node of nodes) node.drain({ maxPerSecond: 10 });
    await pass(5_000);
    expect(first.closesWithin(1_000)).toBeLessThanOrEqual(5);
    end(second, bus);
    await pass(1_000);
    // Not at once: the latest closes of the other node still count for a second.
    expect(first.closesWithin(1_000)).toBeLessThanOrEqual(5);
    // Silence is counted from a heartbeat, and noticed at a heartbeat.
    await pass(afterMs + 1_500);
    expect(first.closesWithin(1_000)).toBeGreaterThanOrEqual(9);
  });

  test.each([100, 500, 1_000])(
    'a node that closes every %i ms goes on at the full rate when the other one is done',
    async (interval) => {
      // What its smaller slices had closed was still in the window when the next slice came, and cut that one as well:
      // with whole batches, a node went on with its share until its end.
      const { nodes } = await drainingNodes([200, 30]);
      const [first, second] = nodes as [DrainingNode, DrainingNode];
      for (const node of nodes) node.drain({ maxPerSecond: 10, interval });
      await untilDrained([second], 20_000);
      await pass(3_000);
      const before = first.closesMs.length;
      await pass(10_200);
      expect(first.closesMs.length - before).toBeGreaterThanOrEqual(95);
      expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(10);
    },
  );

  test('an aborted drain gives its share back, and a restarted one takes it again', async () => {
    const { nodes } = await drainingNodes([120, 60]);
    const [first, second] = nodes as [DrainingNode, DrainingNode];
    first.drain({ maxPerSecond: 10 });
    const controller = new AbortController();
    second.drain({ maxPerSecond: 10, signal: controller.signal });
    await pass(4_000);
    controller.abort();
    await pass(4_000);
    expect(first.pool.cluster.nodes.get(second.pool.cluster.nodeId)).toMatchObject({
      draining: false,
      drain: undefined,
    });
    expect(first.closesWithin(1_000)).toBeGreaterThanOrEqual(9);
    second.drain({ maxPerSecond: 10 });
    await pass(4_000);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeLessThanOrEqual(5);
    expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(10);
  });

  test('of 8 nodes with a rate of 4 the first ones close one per second each, and the others follow', async () => {
    const { nodes } = await drainingNodes(new Array<number>(8).fill(6));
    for (const node of nodes) node.drain({ maxPerSecond: 4 });
    await untilDrained(nodes, 60_000);
    for (const { report } of nodes) expect(report?.closed).toBe(6);
    expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(4);
    // 48 at 4 per second, and some moments in which nodes start and finish.
    const all = closesOfAll(nodes);
    expect(Math.max(...all) - Math.min(...all)).toBeLessThan(18_000);
  });

  test.each([
    [1, 2, { jitter: 0 }],
    [2, 3, { jitter: 0 }],
    [2, 3, { jitter: 1, interval: 1_000 }],
    [5, 6, { jitter: 1, interval: 1_000 }],
  ])(
    'no second sees more than a rate of %i for %i nodes, whenever each of them hears that the last one has begun',
    async (maxPerSecond, count, options) => {
      // They took turns, counted from that moment, and met in the same one until the end of the drain.
      const cluster = { heartbeat: 600 };
      const { nodes, bus } = await drainingNodes(new Array<number>(count).fill(6), {}, cluster);
      for (const node of nodes.slice(0, -1)) node.drain({ maxPerSecond, ...options });
      await pass(300);
      const [late, last] = [nodes[0]!, nodes.at(-1)!];
      bus.cut(late.adapter);
      last.drain({ maxPerSecond, ...options });
      await pass(50);
      // The answer to its hello comes within a twelfth of a heartbeat, and a slot of the timing wheel.
      bus.mend(late.adapter);
      await untilDrained(nodes, 120_000);
      expect(nodes.map(({ report }) => report?.closed)).toEqual(new Array(count).fill(6));
      expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(maxPerSecond);
    },
  );

  test('draining nodes keep their shares for nodeTimeout while the broker is away, and then use their local rate', async () => {
    const { nodes, bus } = await drainingNodes([200, 200]);
    for (const node of nodes) node.drain({ maxPerSecond: 10 });
    await pass(4_000);
    bus.stop();
    await pass(5_000);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeLessThanOrEqual(5);
    await pass(9_000);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeGreaterThanOrEqual(9);
    bus.start();
    await pass(3_000);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeLessThanOrEqual(5);
  });

  test('a process that was stopped begins anew: it says that it drains, and waits until the others have made room', async () => {
    // They had declared it lost and closed a whole rate. It closed its share at once, and told them up to 3.6 s later.
    const { nodes, bus } = await drainingNodes([200]);
    const [stopped] = nodes as [DrainingNode];
    const other = new FakeNode(bus.adapter());
    leavesAfterTest(other.node);
    void other.join('x', 'of the other');
    await pass(500);
    const sayThatItDrains = (): void => {
      other.draining = { remaining: 1_000, maxPerSecond: 10 };
      other.node.outgoing.announceDrain();
    };
    sayThatItDrains();
    stopped.drain({ maxPerSecond: 10, interval: 1_000 });
    await pass(5_000);
    expect(stopped.closesWithin(1_000)).toBe(5);

    const clock = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => clock() + 15_000);
    const wokeAtMs = performance.now();
    const knownToOther = () => other.node.outgoing.companyAt(performance.now()).drainers.length;
    expect(knownToOther()).toBe(0);
    sayThatItDrains();
    await pass(1_030);
    expect(knownToOther()).toBe(1);
    await pass(3_000);
    expect(closesBetween([stopped], wokeAtMs, wokeAtMs + 1_250)).toBe(0);
    expect(closesBetween([stopped], wokeAtMs + 1_250, Infinity)).toBeGreaterThan(0);
    for (const atMs of [2_000, 3_000]) {
      expect(closesBetween([stopped], wokeAtMs + atMs, wokeAtMs + atMs + 1_000)).toBeLessThanOrEqual(5);
    }
  });

  test('a node that had nobody left to close waits before it closes sockets that come later', async () => {
    // A second server of its pool was shut down while it awaited the last answer: its clients came on top of the rate.
    const { nodes } = await drainingNodes([0, 300]);
    const [first, second] = nodes as [DrainingNode, DrainingNode];
    const { connection, socket: silent } = connectInMemory('silent', 'x', new MemorySocket(false));
    void first.pool.newConnection(connection);
    for (const node of nodes) node.drain({ maxPerSecond: 20, interval: 1_000 });
    await pass(6_000);
    expect(silent.closes).toHaveLength(1);
    expect(second.closesWithin(1_000)).toBe(20);
    const sockets = Array.from({ length: 30 }, () => new TimedSocket());
    void first.pool.drainConnections({ sockets });
    await pass(4_000);
    const closesMs = sockets.flatMap(({ closedAtMs }) => closedAtMs ?? []);
    expect(closesMs.length).toBeGreaterThan(10);
    expect(busiestSecond([...closesMs, ...second.closesMs])).toBeLessThanOrEqual(20);
    silent.end();
    await untilDrained([first], 10_000);
    expect(first.report).toMatchObject({ closed: 1, left: 0, beyondShare: 0 });
  });

  test.each([{}, { heartbeat: 10_000, nodeTimeout: 30_000 }])(
    'a node that drains as soon as it has joined waits until the others have answered its hello (%o)',
    async (cluster) => {
      // They answer within a twelfth of a heartbeat. It closed a whole rate before it knew that they drain.
      const { nodes, bus } = await drainingNodes([200], {}, cluster);
      nodes[0]!.drain({ maxPerSecond: 20, interval: 1_000 });
      await pass(3_000);
      vi.spyOn(Math, 'random').mockReturnValue(0.99);
      const adapter = bus.adapter();
      const newcomer = new DrainingNode(new ConnectionsPool({ adapter, cluster }), adapter);
      leavesAfterTest(newcomer.pool.cluster);
      while (newcomer.pool.cluster.state !== 'up') await pass(1);
      newcomer.fill(40);
      newcomer.drain({ maxPerSecond: 20, interval: 1_000 });
      await untilDrained([newcomer], 20_000);
      expect(newcomer.report).toMatchObject({ closed: 40 });
      expect(busiestSecond(closesOfAll([...nodes, newcomer]))).toBeLessThanOrEqual(20);
    },
  );

  test('nodes whose drain messages are lost share the rate after the next heartbeat', async () => {
    let isLossy = false;
    const { nodes } = await drainingNodes([60, 60], { copies: () => (isLossy ? 0 : 1) });
    isLossy = true;
    for (const node of nodes) node.drain({ maxPerSecond: 10 });
    await pass(1_000);
    isLossy = false;
    await pass(6_000);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeLessThanOrEqual(5);
  });

  test.each(Array.from({ length: runs({ quick: 2, ci: 8 }) }, (_, seed) => seed))(
    'nodes never close more than the rate in a second, whichever of them start, finish and leave (seed %i)',
    async (seed) => {
      const random = new Random(seed);
      const rate = 3 + random.below(40);
      const counts = Array.from({ length: 2 + random.below(4) }, () => 1 + random.below(4 * rate));
      const { nodes } = await drainingNodes(counts);
      const plans = nodes.map((node) => ({ node, atMs: random.below(6_000) }));
      for (const { node, atMs } of plans) {
        const interval = random.chance(0.5) ? 1_000 : 100;
        setTimeout(() => node.drain({ maxPerSecond: rate, interval, jitter: random.below(2) }), atMs);
      }
      for (let passed = 0; passed < 600 && nodes.some(({ report }) => report === undefined); passed++) {
        await pass(100);
        for (const { pool, report } of nodes) if (report && random.chance(0.2)) void pool.cluster.leave();
      }
      expect(nodes.map(({ report }) => report?.closed)).toEqual(counts);
      expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(rate);
    },
  );
});

describe('a deadline among draining nodes', () => {
  useFakeClusters();

  test('a drain keeps its deadline rather than its share, and reports by how much it exceeds the share', async () => {
    const { nodes } = await drainingNodes([100, 200]);
    const [hurried, other] = nodes as [DrainingNode, DrainingNode];
    other.drain({ maxPerSecond: 10 });
    await pass(3_000);
    const beganMs = performance.now();
    hurried.drain({ deadline: 5_000, grace: 1_000 });
    await untilDrained([hurried], 10_000);
    expect(hurried.report).toMatchObject({ closed: 100, terminated: 0 });
    expect(Math.max(...hurried.closesMs) - beganMs).toBeLessThanOrEqual(4_000);
    // Its share was 5 per second, after a second and a quarter.
    expect(hurried.report!.beyondShare).toBeGreaterThanOrEqual(80);
    expect(hurried.report!.beyondShare).toBeLessThanOrEqual(90);
    // The other node leaves it its share.
    expect(closesBetween([other], beganMs + 2_000, beganMs + 4_000)).toBeLessThanOrEqual(10);
  });

  test('a deadline that needs less than the share does not exceed it', async () => {
    const { nodes } = await drainingNodes([10, 200]);
    const [hurried, other] = nodes as [DrainingNode, DrainingNode];
    other.drain({ maxPerSecond: 20 });
    await pass(3_000);
    hurried.drain({ deadline: 60_000, grace: 1_000 });
    await untilDrained(nodes, 70_000);
    expect(nodes.map(({ report }) => report?.beyondShare)).toEqual([0, 0]);
  });

  test('nodes that drain with a deadline alone share no rate', async () => {
    const { nodes } = await drainingNodes([100, 100]);
    for (const node of nodes) node.drain({ deadline: 2_000 });
    await untilDrained(nodes, 5_000);
    expect(nodes.map(({ report }) => [report?.closed, report?.beyondShare])).toEqual([
      [100, 0],
      [100, 0],
    ]);
  });
});
