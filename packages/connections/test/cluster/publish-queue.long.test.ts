import { expect, test } from 'vitest';
import { FakeCluster, pass, useFakeClusters } from '../support/cluster-nodes.js';

useFakeClusters();

test('waiting messages never exceed maxQueuedBytes, and the oldest are dropped and counted', async () => {
  const cluster = new FakeCluster({}, { maxQueuedBytes: 100_000 });
  const [a, b] = await cluster.start(2);
  await Promise.all([b.join('x', '1'), pass(200)]);
  a.broadcast('x', '-1 first');
  await pass(10);
  cluster.bus.stop();
  for (let number = 0; number < 100; number++) {
    a.broadcast('x', `${number} ${'x'.repeat(10_000)}`);
    await pass(1);
    expect(a.node.stats().queuedBytes).toBeLessThanOrEqual(100_000);
  }
  cluster.bus.start();
  await pass(1_000);
  const numbers = b.member('x', '1')!.received.map((message) => parseInt(message, 10));
  expect(numbers).toEqual([-1, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  expect(a.node.stats()).toMatchObject({ dropped: 91, queuedBytes: 0 });
  // The sender counts each loss, and so does the receiver.
  expect(b.node.stats().gaps).toBe(91);
});

test('sends that exceed the bound of unconfirmed messages wait, and each of them is answered', async () => {
  const cluster = new FakeCluster({}, { maxQueuedBytes: 1_000_000 });
  const [a, b] = await cluster.start(2);
  const names = Array.from({ length: 1_000 }, (_, index) => `x${index}`);
  await Promise.all([...names.map((name) => b.join(name, '1')), pass(500)]);
  const sent = names.map((name) => a.sendRemote(name, '1', 'hi'));
  await pass(100);
  expect(new Set(await Promise.all(sent))).toEqual(new Set([true]));
});
