import { describe, expect, test } from 'vitest';
import { ALONE, type Company } from '../../src/cluster/drainers.js';
import { SharedRate } from '../../src/drain/shared-rate.js';
import { pass, useFakeClusters } from '../support/cluster-nodes.js';
import { closesOfAll, drainingNodes, type DrainingNode, untilDrained } from '../support/draining-nodes.js';
import { busiestSecond } from '../support/timed-pool.js';

describe('nodes that drain at the same time', () => {
  useFakeClusters();

  test('the shares of draining nodes add up to the rate, even if it cannot be divided evenly', async () => {
    const { nodes } = await drainingNodes([40, 40, 40]);
    for (const node of nodes) node.drain({ maxPerSecond: 10, interval: 1_000 });
    await pass(1_250 + 500);
    const shares = nodes.map((node) => node.closesWithin(1_000));
    expect(shares.toSorted()).toEqual([3, 3, 4]);
  });

  test('a node that starts to drain while another one drains waits until the other has given up its share', async () => {
    const { nodes } = await drainingNodes([140, 60]);
    const [first, second] = nodes as [DrainingNode, DrainingNode];
    first.drain({ maxPerSecond: 20 });
    await pass(3_000);
    expect(first.closesWithin(1_000)).toBeGreaterThanOrEqual(19);
    const beganMs = performance.now();
    second.drain({ maxPerSecond: 20 });
    await pass(4_000);
    expect(Math.min(...second.closesMs) - beganMs).toBeGreaterThanOrEqual(1_250);
    expect(Math.min(...second.closesMs) - beganMs).toBeLessThan(1_450);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeLessThanOrEqual(10);
    for (const node of nodes) expect(node.closesWithin(1_000)).toBeGreaterThanOrEqual(9);
  });

  test('the lowest rate of all draining nodes applies to all of them', async () => {
    const { nodes } = await drainingNodes([60, 60]);
    nodes[0]!.drain({ maxPerSecond: 100 });
    nodes[1]!.drain({ maxPerSecond: 6 });
    await pass(6_000);
    expect(nodes[0]!.closesMs.length).toBeGreaterThanOrEqual(12);
    expect(busiestSecond(closesOfAll(nodes))).toBeLessThanOrEqual(6);
  });

  test('a node with a share of one per second closes its first one as soon as it may', async () => {
    // It saved its share up for a second before.
    const { nodes } = await drainingNodes([2, 2, 2]);
    for (const node of nodes) node.drain({ maxPerSecond: 3 });
    await pass(1_250 + 50);
    expect(nodes.map(({ closesMs }) => closesMs.length)).toEqual([1, 1, 1]);
  });

  test('a drain that is called while the broker is away begins at once, at the local rate', async () => {
    const { nodes, bus } = await drainingNodes([40, 40]);
    bus.stop();
    await pass(100);
    for (const node of nodes) node.drain({ maxPerSecond: 10, interval: 1_000 });
    await pass(1);
    for (const { closesMs } of nodes) expect(closesMs).toHaveLength(10);
  });

  test('a drain begins after a quarter of a second if there are other nodes, and otherwise at once', async () => {
    const { nodes } = await drainingNodes([10, 1]);
    const beganMs = performance.now();
    nodes[0]!.drain({ maxPerSecond: 10 });
    await pass(300);
    expect(Math.min(...nodes[0]!.closesMs) - beganMs).toBe(250);
    const { nodes: alone } = await drainingNodes([10]);
    alone[0]!.drain({ maxPerSecond: 10 });
    await pass(0);
    expect(alone[0]!.closesMs).toHaveLength(1);
  });
});

describe('what nodes announce about a drain', () => {
  useFakeClusters();

  test('other nodes learn at once that a drain has begun, and that it has closed everybody', async () => {
    // The news came with the next heartbeat, up to 3.6 s later, and without a rate.
    const { nodes } = await drainingNodes([15, 1]);
    const [draining, other] = nodes as [DrainingNode, DrainingNode];
    const seen = () => other.pool.cluster.nodes.get(draining.pool.cluster.nodeId);
    expect(seen()).toMatchObject({ draining: false, drain: undefined });
    draining.drain({ maxPerSecond: 10 });
    await pass(10);
    expect(seen()).toMatchObject({ draining: true, drain: { remaining: 15, maxPerSecond: 10 } });
    const own = () => draining.pool.cluster.nodes.get(draining.pool.cluster.nodeId);
    await pass(500);
    expect(own()?.drain?.remaining).toBeLessThan(15);
    await untilDrained([draining], 5_000);
    expect(draining.report?.closed).toBe(15);
    for (const info of [seen(), own()]) expect(info).toMatchObject({ draining: true, drain: undefined });
  });

  test('a drain gives its share back at once when all connections have left by themselves', async () => {
    const { nodes } = await drainingNodes([50, 1]);
    const [draining, other] = nodes as [DrainingNode, DrainingNode];
    draining.drain({ maxPerSecond: 1 });
    await pass(100);
    void draining.pool.closeAll('x');
    await pass(100);
    expect(other.pool.cluster.nodes.get(draining.pool.cluster.nodeId)?.drain).toBeUndefined();
  });

  test('a drain with a deadline announces no rate', async () => {
    const { nodes } = await drainingNodes([10, 1]);
    nodes[0]!.drain({ deadline: 10_000 });
    await pass(10);
    expect(nodes[1]!.pool.cluster.nodes.get(nodes[0]!.pool.cluster.nodeId)?.drain).toEqual({
      remaining: 10,
      maxPerSecond: undefined,
    });
  });
});

describe('the shared rate', () => {
  const company =
    (others: Partial<Company>): (() => Company) =>
    () => ({ ...ALONE, id: 'b', ...others });

  test('the shared rate of a lone node is that of a limiter, from the first moment', () => {
    const rate = new SharedRate(5, () => ALONE);
    // A whole number: the wait is a difference, which would otherwise have a rounding error.
    const nowMs = Math.ceil(performance.now());
    expect([rate.allowed(nowMs), rate.waitMs(nowMs), rate.sliceAt(3, nowMs)]).toEqual([5, 0, 3]);
    rate.record(nowMs, 5);
    expect([rate.allowed(nowMs), rate.waitMs(nowMs)]).toEqual([0, 1_020]);
  });

  test('the shared rate carries over the fraction of a slice', () => {
    const drainers = [{ id: 'a', maxPerSecond: 100 }];
    const rate = new SharedRate(5, company({ drainers }));
    // The other node, whose id is lower, has three of five.
    const slices = [];
    for (let nowMs = performance.now() + 2_000; slices.length < 11; nowMs += 110) {
      slices.push(rate.sliceAt(1, nowMs));
      rate.record(nowMs, slices.at(-1)!);
    }
    expect(slices).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  });

  test('a shared rate that follows another one counts what was closed under that one', () => {
    const earlier = new SharedRate(10, () => ALONE);
    earlier.record(performance.now(), 7);
    const later = new SharedRate(10, () => ALONE, earlier);
    expect(later.allowed(performance.now())).toBe(3);
  });
});
