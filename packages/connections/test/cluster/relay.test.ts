import { describe, expect, test } from 'vitest';
import type { ClusterAdapter } from '../../src/index.js';
import { FakeCluster, pass, useFakeClusters, type FakeNode } from '../support/cluster-nodes.js';

/** Both nodes. */
const RECEIVERS = 2;

/** A broker that delivers messages to namespaces at once, and confirms them when `confirm()` is called. */
function slowConfirmations(adapter: ClusterAdapter): {
  readonly published: () => number;
  readonly confirm: () => Promise<void>;
} {
  const publish = adapter.publish.bind(adapter);
  const waiting: (() => void)[] = [];
  let published = 0;
  adapter.publish = async (channel, message) => {
    const receivers = publish(channel, message);
    if (!channel.startsWith('s')) return receivers;
    published++;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return RECEIVERS;
  };
  return {
    published: () => published,
    confirm: async () => {
      for (const resolve of waiting.splice(0)) resolve();
      await pass(0);
    },
  };
}

/** One turn of the event loop, with one broadcast. */
async function turn(node: FakeNode, text: string): Promise<void> {
  node.broadcast('x', text);
  await pass(0);
}

describe('batches at high rates', () => {
  useFakeClusters();

  async function start() {
    const [a, b] = await new FakeCluster().start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    return { a, member: b.member('x', '1')!, broker: slowConfirmations(a.adapter) };
  }

  test('a message is published at the end of its turn if no earlier batch is unconfirmed', async () => {
    const { a, member, broker } = await start();
    await turn(a, '1');
    expect(broker.published()).toBe(1);
    await broker.confirm();
    await turn(a, '2');
    expect(broker.published()).toBe(2);
    await pass(20);
    expect(member.received).toEqual(['1', '2']);
  });

  test('the turns that follow an unconfirmed batch are gathered into one batch, in order', async () => {
    const { a, member, broker } = await start();
    for (const text of ['1', '2', '3', '4']) await turn(a, text);
    expect(broker.published()).toBe(1);
    await broker.confirm();
    expect(broker.published()).toBe(2);
    await pass(20);
    expect(member.received).toEqual(['1', '2', '3', '4']);
  });

  test('a batch waits for a confirmation for about a millisecond at most', async () => {
    const { a, member, broker } = await start();
    await turn(a, '1');
    await turn(a, '2');
    expect(broker.published()).toBe(1);
    await pass(2);
    expect(broker.published()).toBe(2);
    await pass(20);
    expect(member.received).toEqual(['1', '2']);
  });

  test('the next batch is published when the broker refuses the one before it', async () => {
    const { a, member } = await start();
    const publish = a.adapter.publish.bind(a.adapter);
    let refuse = (): void => undefined;
    a.adapter.publish = () => new Promise((_, reject) => (refuse = () => reject(new Error('Not allowed'))));
    await turn(a, '1');
    await turn(a, '2');
    a.adapter.publish = publish;
    refuse();
    await pass(20);
    expect(member.received).toEqual(['2']);
  });

  test('a request is published at once, together with earlier broadcasts', async () => {
    const { a, member, broker } = await start();
    await turn(a, '1');
    await turn(a, '2');
    const sent = a.sendRemote('x', '1', '3');
    await pass(0);
    expect(broker.published()).toBe(2);
    await pass(20);
    expect(member.received).toEqual(['1', '2', '3']);
    await expect(sent).resolves.toBe(true);
  });

  test('a node publishes waiting messages before it leaves', async () => {
    const { a, member, broker } = await start();
    await turn(a, '1');
    await turn(a, '2');
    void a.node.leave();
    expect(broker.published()).toBe(2);
    await pass(20);
    expect(member.received).toEqual(['1', '2']);
  });
});
