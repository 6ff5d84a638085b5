import { describe, expect, test } from 'vitest';
import type { ClusterAdapter } from '../../src/index.js';
import { FakeCluster, pass, useFakeClusters, type FakeNode } from '../support/cluster-nodes.js';

const text = (length: number): string => 'x'.repeat(length);

/** Has publishes on namespaces hang until they are let go. */
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

  test('They never take more than maxQueuedBytes while it is away: the oldest are dropped and counted.', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 10_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    a.broadcast('x', '-1 first');
    await pass(10);
    cluster.bus.stop();
    for (let number = 0; number < 100; number++) {
      a.broadcast('x', `${number} ${text(1_000)}`);
      await pass(1);
      expect(a.node.stats().queuedBytes).toBeLessThanOrEqual(10_000);
    }
    cluster.bus.start();
    await pass(1_000);
    const numbers = b.member('x', '1')!.received.map((message) => parseInt(message, 10));
    expect(numbers).toEqual([-1, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
    expect(a.node.stats()).toMatchObject({ dropped: 91, queuedBytes: 0 });
    // Each loss is in a counter of the sender, and of the receiver too.
    expect(b.node.stats().gaps).toBe(91);
  });

  test('A slow broker counts too: what it has not confirmed yet is bounded.', async () => {
    const cluster = new FakeCluster({}, { maxQueuedBytes: 10_000 });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    const { letGo } = hang(a.adapter);
    for (let number = 0; number < 100; number++) {
      a.broadcast('x', `${number} ${text(1_000)}`);
      await pass(1);
      expect(a.node.stats().queuedBytes).toBeLessThanOrEqual(11_000);
    }
    letGo();
    await pass(1_000);
    const { dropped, queuedBytes } = a.node.stats();
    expect(queuedBytes).toBe(0);
    expect(b.member('x', '1')!.received.length + dropped).toBe(100);
  });

  test('They wait for maxQueuedMs at most.', async () => {
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

  test('A burst of one turn leaves in batches of 256 KiB, in order.', async () => {
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

  test('One that is larger than the broker takes is dropped for other nodes and reported; others follow.', async () => {
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

  test('A message of 1 MiB comes through alone.', async () => {
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
