import { expect, test } from 'vitest';
import { FakeCluster, pass, useFakeClusters } from '../support/cluster-nodes.js';

useFakeClusters();

test('thousands of namespaces are subscribed to with one command per 512, and again after an outage', async () => {
  const count = 10_000;
  const cluster = new FakeCluster();
  const [a, b] = await cluster.start(2);
  let commands = 0;
  const subscribe = b.adapter.subscribe.bind(b.adapter);
  b.adapter.subscribe = (channels) => {
    expect(channels.length).toBeLessThanOrEqual(512);
    commands++;
    return subscribe(channels);
  };
  const joins = Array.from({ length: count }, (_, index) => b.join(`n${index}`, '1'));
  await Promise.all([...joins, pass(100)]);
  expect(commands).toBe(Math.ceil(count / 512));
  cluster.bus.stop();
  await pass(100);
  cluster.bus.start();
  await pass(1_000);
  expect(b.node.state).toBe('up');
  expect(cluster.bus.channels).toHaveLength(count + 3);
  a.broadcast(`n${count - 1}`, 'hi');
  await pass(10);
  expect(b.member(`n${count - 1}`, '1')?.received).toEqual(['hi']);
  for (let index = 0; index < count; index++) b.leave(`n${index}`, '1');
  await pass(3_000);
  expect(cluster.bus.channels).toHaveLength(3);
});
