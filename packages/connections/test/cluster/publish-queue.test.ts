import { describe, expect, test } from 'vitest';
import type { ClusterAdapter } from '../../src/index.js';
import { FakeCluster, pass, useFakeClusters, type FakeNode } from '../support/cluster-nodes.js';

const text = (length: number): string => 'x'.repeat(length);

/** Makes publishes to namespaces hang until `letGo()`. */
function hang(adapter: ClusterAdapter): { readonly letGo: () => void } {
  const publish = adapter.publish.bind(adapter);
  const hanging: (() => void)[] = [];
  let hangs = true;
  adapter.publish = async (channel, message) => {
    if (hangs && channel.startsWith('s')) await new Promise<void>((resolve) => hanging.push(resolve));
    return publish(channel, message);
  };
  return {
    letGo: () => {
      hangs = false;
      for (const resolve of hanging) resolve();
    },
  };
}

describe('messages that wait for the broker', () => {
  useFakeClusters();

  test('unconfirmed messages of a slow broker count towards maxQueuedBytes', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    const { letGo } = hang(a.adapter);
    for (let number = 0; number < 100; number++) {
      a.broadcast('x', `${number} ${text(10_000)}`);
      await pass(1);
      expect(a.node.stats().queuedBytes).toBeLessThanOrEqual(100_000);
    }
    letGo();
    await pass(1_000);
    const { dropped, queuedBytes } = a.node.stats();
    expect(queuedBytes).toBe(0);
    expect(b.member('x', '1')!.received.length + dropped).toBe(100);
  });

  test('small messages count with the memory that they take, so that 100,000 bytes hold fewer than 200', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000 });
    const [a] = await cluster.start(1);
    cluster.bus.stop();
    for (let number = 0; number < 1_000; number++) a.broadcast(`x${number}`, '');
    await pass(10);
    expect(a.node.stats().dropped).toBeGreaterThan(800);
    expect(a.node.stats().queuedBytes).toBeLessThanOrEqual(100_000);
  });

  test('a message longer than maxQueuedBytes is an error event, and does not displace waiting messages', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '2'), pass(200)]);
    a.broadcast('x', 'first');
    await pass(10);
    cluster.bus.stop();
    a.broadcast('x', 'waits');
    await pass(1);
    a.broadcast('x', text(100_000));
    await pass(1);
    cluster.bus.start();
    await pass(1_000);
    expect(b.member('x', '2')!.received).toEqual(['first', 'waits']);
    expect(a.events).toContainEqual(['error', expect.objectContaining({ code: 'ERR_RELAY_TOO_LARGE' })]);
    expect(a.node.stats().dropped).toBe(1);
  });

  test('a send that is waiting when the broker goes away resolves false and is not sent later', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), b.join('y', '1'), pass(500)]);
    const { letGo } = hang(a.adapter);
    a.broadcast('x', text(60_000));
    await pass(10);
    const sent = a.sendRemote('y', '1', 'hi');
    await pass(10);
    cluster.bus.stop();
    expect(await sent).toBe(false);
    cluster.bus.start();
    letGo();
    await pass(1_000);
    expect(a.node.state).toBe('up');
    expect(b.member('y', '1')!.received).toEqual([]);
    expect(a.node.stats()).toMatchObject({ queuedBytes: 0 });
  });

  test('a heartbeat does not overtake a count while other messages wait', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000, heartbeat: 300, requestTimeout: 2_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(500)]);
    const { letGo } = hang(a.adapter);
    a.broadcast('x', text(60_000));
    await pass(10);
    a.broadcast('x', text(10_000));
    const count = a.node.outgoing.count('x', undefined);
    await pass(1_000);
    letGo();
    await pass(1_000);
    expect(await count).toEqual({ total: 1, answered: 2, missing: [] });
    expect(b.node.stats()).toMatchObject({ gaps: 0, duplicates: 0 });
  });

  test('messages wait for the broker for at most maxQueuedMs', async () => {
    const cluster = new FakeCluster({}, { maxQueuedMs: 1_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    cluster.bus.stop();
    a.broadcast('x', 'old');
    await pass(700);
    a.broadcast('x', 'young');
    await pass(700);
    expect(a.node.stats().dropped).toBe(1);
    cluster.bus.start();
    await pass(100);
    expect(b.member('x', '1')?.received).toEqual(['young']);
  });

  test('a burst of one turn is published in order, in batches of 256 KiB', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    const { batches } = a.node.stats();
    for (let number = 0; number < 100; number++) a.broadcast('x', `${number} ${text(10_000)}`);
    await pass(20);
    expect(b.member('x', '1')!.received.map((message) => parseInt(message, 10))).toEqual([
      ...Array(100).keys(),
    ]);
    expect(a.node.stats().batches - batches).toBe(4);
  });

  test('a message larger than the broker allows is an error event and reaches local members alone', async () => {
    const cluster = new FakeCluster({ maxMessageBytes: 65_536 });
    const [a, b] = await cluster.start(2);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), pass(200)]);
    a.broadcast('x', text(65_536));
    a.broadcast('x', text(65_400));
    a.broadcast('x', 'small');
    await pass(20);
    expect(lengths(a, '1')).toEqual([65_536, 65_400, 5]);
    expect(lengths(b, '2')).toEqual([65_400, 5]);
    expect(a.events.at(-1)).toMatchObject(['error', { code: 'ERR_RELAY_TOO_LARGE' }]);
    expect(a.node.stats().dropped).toBe(1);
  });

  test('a message of 1 MiB reaches other nodes', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '2'), pass(200)]);
    a.broadcast('x', text(2 ** 20));
    await pass(20);
    expect(lengths(b, '2')).toEqual([2 ** 20]);
  });
});

function lengths(node: FakeNode, id: string): number[] {
  return node.member('x', id)!.received.map(({ length }) => length);
}
