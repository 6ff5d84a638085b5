import { describe, expect, test } from 'vitest';
import { FakeCluster, pass, useFakeClusters } from '../support/cluster-nodes.js';

describe('nodes of a cluster', () => {
  useFakeClusters();

  test('nodes of a cluster are soon up and know each other', async () => {
    const cluster = new FakeCluster();
    const [a, b, c] = await cluster.start(3);
    for (const { node } of [a, b, c]) {
      expect(node.state).toBe('up');
      expect(new Set(node.infos.map(({ name }) => name))).toEqual(new Set(['node 0', 'node 1', 'node 2']));
    }
  });

  test('a broadcast reaches the members of its namespace on all nodes once', async () => {
    const cluster = new FakeCluster();
    const [a, b, c] = await cluster.start(3);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), c.join('y', '3'), pass(200)]);
    for (const text of ['1', '2', '3']) a.broadcast('x', text);
    await pass(10);
    expect(a.member('x', '1')?.received).toEqual(['1', '2', '3']);
    expect(b.member('x', '2')?.received).toEqual(['1', '2', '3']);
    expect(c.member('y', '3')?.received).toEqual([]);
    expect(a.node.stats()).toMatchObject({ messages: 3 });
    expect(b.node.stats()).toMatchObject({ gaps: 0, duplicates: 0, invalid: 0, unknown: 0 });
  });

  test('the rooms and exceptions of a broadcast apply on all nodes', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([
      b.join('x', '1', 'red'),
      b.join('x', '2', 'red', 'blue'),
      b.join('x', '3'),
      pass(200),
    ]);
    a.broadcast('x', 'all but 1', { exceptions: ['1'] });
    a.broadcast('x', 'red', { rooms: ['red'] });
    a.broadcast('x', 'red, not blue', { rooms: ['red'], exceptRooms: ['blue'] });
    a.broadcast('x', 'nobody', { rooms: [] });
    await pass(10);
    expect(b.member('x', '1')?.received).toEqual(['red', 'red, not blue']);
    expect(b.member('x', '2')?.received).toEqual(['all but 1', 'red']);
    expect(b.member('x', '3')?.received).toEqual(['all but 1']);
  });

  test('a send reaches a connection on another node, which confirms it', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    const sent = a.sendRemote('x', '1', 'hi');
    await pass(10);
    expect(await sent).toBe(true);
    expect(b.member('x', '1')?.received).toEqual(['hi']);
  });

  test('a send to an unknown id resolves false at once if the broker counts receivers', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), pass(200)]);
    const answers = Promise.all([a.sendRemote('x', '3', ''), a.sendRemote('nowhere', '3', '')]);
    await pass(10);
    expect(await answers).toEqual([false, false]);
  });

  test('a message that one node refuses and another node delivers counts as sent', async () => {
    const cluster = new FakeCluster({ countsReceivers: false });
    const [a, b, c] = await cluster.start(3);
    await Promise.all([b.join('x', '1'), c.join('x', '1'), pass(200)]);
    b.send = () => Promise.resolve(false);
    c.send = () => new Promise((resolve) => setTimeout(resolve, 100, true));
    const sent = a.sendRemote('x', '1', 'hi');
    await pass(200);
    expect(await sent).toBe(true);
  });

  test('a refusal by the only node that can have the connection is final', async () => {
    const cluster = new FakeCluster({ countsReceivers: false }, {}, { isExclusive: true });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    b.send = () => Promise.resolve(false);
    const sent = a.sendRemote('x', '1', 'hi');
    await pass(50);
    expect(await sent).toBe(false);
  });

  test('a send to an unknown id resolves false after requestTimeout if the broker does not count receivers', async () => {
    const cluster = new FakeCluster({ countsReceivers: false });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '2'), pass(200)]);
    let answer: boolean | undefined;
    void a.sendRemote('x', '3', '').then((sent) => (answer = sent));
    await pass(900);
    expect(answer).toBe(undefined);
    await pass(300);
    expect(answer).toBe(false);
  });

  test('a count adds up all nodes, and the counts of one turn share a request', async () => {
    const cluster = new FakeCluster();
    const [a, b, c] = await cluster.start(3);
    await Promise.all([a.join('x', '1'), b.join('x', '2', 'red'), c.join('x', '3', 'red'), pass(200)]);
    const { batches } = b.node.stats();
    const counts = Promise.all([
      a.node.outgoing.count('x', undefined),
      a.node.outgoing.count('x', ['red']),
      ...Array.from({ length: 50 }, () => a.node.outgoing.count('x', undefined)),
    ]);
    await pass(10);
    const [all, red] = await counts;
    expect(all).toEqual({ total: 3, answered: 3, missing: [] });
    expect(red).toEqual({ total: 2, answered: 3, missing: [] });
    expect(b.node.stats().batches).toBe(batches + 1);
  });

  test('a count names a node that does not answer', async () => {
    const cluster = new FakeCluster();
    const [a, b, c] = await cluster.start(3);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), c.join('x', '3'), pass(200)]);
    cluster.bus.deafen(c.adapter);
    const count = a.node.outgoing.count('x', undefined);
    await pass(1_200);
    expect(await count).toEqual({
      total: 2,
      answered: 2,
      missing: [{ id: c.node.id, name: 'node 2', reason: 'timeout' }],
    });
  });

  test('a count does not wait for a node that leaves meanwhile', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), pass(200)]);
    const id = b.node.id;
    const count = a.node.outgoing.count('x', undefined);
    void b.node.leave();
    await pass(100);
    expect(await count).toEqual({
      total: 1,
      answered: 1,
      missing: [{ id, name: 'node 1', reason: 'left' }],
    });
    expect(a.events).toContainEqual(['node', id, 'left']);
  });

  test('a node that dies is reported as lost after nodeTimeout, and not before', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    cluster.bus.cut(b.adapter);
    await pass(5_000);
    expect(a.events).not.toContainEqual(['node', b.node.id, 'lost']);
    await pass(15_000);
    expect(a.events).toContainEqual(['node', b.node.id, 'lost']);
    cluster.bus.mend(b.adapter);
    await pass(500);
    expect(a.node.infos).toHaveLength(2);
    expect(b.node.infos).toHaveLength(2);
  });
});
