import { describe, expect, test } from 'vitest';
import { FakeCluster, pass, useFakeClusters, type FakeNode } from '../support/cluster-nodes.js';

const kinds = ({ events }: FakeNode): string[] =>
  events.map(([kind]) => kind).filter((kind) => kind !== 'node');
const fallsOf = ({ events }: FakeNode): unknown[] =>
  events.filter(([kind]) => kind === 'degraded').map(([, stage]) => stage);

describe('the link of a node', () => {
  useFakeClusters();

  test('an outage of the broker causes one degraded event, and one recovered event when it ends', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    cluster.bus.stop();
    await pass(1);
    expect(a.node.state).toBe('down');
    await pass(30_000);
    expect(a.events.filter(([kind]) => kind === 'node')).toHaveLength(1);
    cluster.bus.start();
    await pass(50);
    expect(a.node.state).toBe('up');
    expect(fallsOf(a)).toEqual(['connect']);
    expect(kinds(a)).toEqual(['degraded', 'recovered']);
    a.broadcast('x', 'again');
    await pass(10);
    expect(b.member('x', '1')?.received).toEqual(['again']);
  });

  test('a node that silently receives nothing notices within three heartbeats, and recovers', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    cluster.bus.deafen(b.adapter);
    a.broadcast('x', 'lost');
    await pass(10_000);
    expect(fallsOf(b)).toEqual(['receive']);
    expect(kinds(b)).toEqual(['degraded', 'recovered']);
    expect(b.node.state).toBe('up');
    a.broadcast('x', 'heard');
    await pass(10);
    expect(b.member('x', '1')?.received).toEqual(['heard']);
    expect(b.node.stats().gaps).toBeGreaterThanOrEqual(1);
    expect(kinds(a)).toEqual([]);
  });

  test('a broker that refuses to publish is noticed with the next heartbeat, and no stale message is delivered later', async () => {
    let isDenied = false;
    const cluster = new FakeCluster({ refuses: (command) => isDenied && command === 'publish' });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    isDenied = true;
    a.broadcast('x', 'refused');
    await pass(10);
    expect(a.node.state).toBe('degraded');
    a.broadcast('x', 'waits too long');
    await pass(20_000);
    isDenied = false;
    await pass(5_000);
    expect(a.node.state).toBe('up');
    expect(fallsOf(a)).toEqual(['publish']);
    expect(a.node.stats()).toMatchObject({ dropped: 2, queuedBytes: 0 });
    expect(b.member('x', '1')?.received).toEqual([]);
  });

  test('a publish that is refused on a single channel is an error event and does not degrade the node', async () => {
    const cluster = new FakeCluster({
      refuses: (command, channel) => command === 'publish' && channel === 'sx',
    });
    const [a] = await cluster.start(1);
    for (let number = 0; number < 100; number++) {
      a.broadcast('x', 'refused');
      await pass(100);
    }
    // One per minute, not one per message.
    expect(kinds(a)).toEqual(['error']);
    expect(a.node.state).toBe('up');
    expect(a.node.stats().dropped).toBe(100);
  });

  test('a refused subscription degrades the node, and the other channels are still subscribed to', async () => {
    let isDenied = true;
    const refuses = (command: string, channel: string): boolean =>
      isDenied && command === 'subscribe' && channel === 's13';
    const cluster = new FakeCluster({ refuses });
    const [a, b] = await cluster.start(2);
    const joins = Array.from({ length: 100 }, (_, index) => b.join(`${index}`, '1'));
    // It is found in seven halvings. Each of them waits for 100 ms, and up to two slots of the timing wheel longer.
    await Promise.all([...joins, pass(2_500)]);
    expect(b.node.state).toBe('degraded');
    for (let index = 0; index < 100; index++)
      expect(cluster.bus.subscribers(`s${index}`)).toBe(index === 13 ? 0 : 1);
    expect(fallsOf(b)).toEqual(['subscribe']);
    isDenied = false;
    await pass(30_000);
    expect(b.node.state).toBe('up');
    expect(kinds(b)).toEqual(['degraded', 'recovered']);
    expect(cluster.bus.subscribers('s13')).toBe(1);
    expect(a.node.state).toBe('up');
  });

  test('a node subscribes again to a channel that the broker has forgotten', async () => {
    let isLost = false;
    const cluster = new FakeCluster({
      countsReceivers: false,
      copies: (_from, _to, channel) => (isLost && channel === 'sx' ? 0 : 1),
    });
    const [a, b] = await cluster.start(2);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), pass(200)]);
    const asked: string[] = [];
    const subscribe = a.adapter.subscribe.bind(a.adapter);
    a.adapter.subscribe = (channels) => {
      asked.push(...channels);
      return subscribe(channels);
    };
    isLost = true;
    a.broadcast('x', 'no echo');
    await pass(12_000);
    expect(asked).toContain('sx');
    expect(asked).not.toContain('a');
    expect(a.node.state).toBe('up');
  });

  test('a batch that was published before the subscription of its channel does not cause another subscription', async () => {
    // The claim of a newcomer reached no subscriber, and the answer came after the subscription was confirmed: the node
    // subscribed again, and lost messages that were sent after its `newConnection()` had resolved.
    const answers: (() => void)[] = [];
    const cluster = new FakeCluster({}, {}, { isExclusive: true });
    const [a, b] = await cluster.start(2);
    const publish = b.adapter.publish.bind(b.adapter);
    b.adapter.publish = async (channel, message) => {
      const receivers = await publish(channel, message);
      if (channel === 'sx') await new Promise<void>((resolve) => answers.push(resolve));
      return receivers;
    };
    const asked: string[] = [];
    const subscribe = b.adapter.subscribe.bind(b.adapter);
    b.adapter.subscribe = async (channels) => {
      await pass(5);
      asked.push(...channels);
      return subscribe(channels);
    };
    const joined = b.join('x', '1');
    await pass(20);
    await joined;
    expect(answers).toHaveLength(1);
    answers[0]!();
    await pass(1);
    a.broadcast('x', 'after it has joined');
    await pass(20_000);
    expect(asked).toEqual(['sx']);
    expect(b.member('x', '1')!.received).toEqual(['after it has joined']);
  });

  test('a node relies on a broker without echo as long as the broker answers', async () => {
    const cluster = new FakeCluster({ echo: false, totalOrder: false, countsReceivers: false });
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    expect(a.node.state).toBe('up');
    a.broadcast('x', 'hi');
    await pass(30_000);
    expect(b.member('x', '1')?.received).toEqual(['hi']);
    a.adapter.ping = () => Promise.reject(new Error('no answer'));
    await pass(5_000);
    expect(fallsOf(a)).toEqual(['receive']);
  });

  test('two nodes with the same id take new ids, and receive the messages of each other', async () => {
    const cluster = new FakeCluster();
    const bootId = Buffer.alloc(8, 7);
    const [a, b] = [cluster.add({}, { bootId }), cluster.add({}, { bootId })];
    expect(a.node.id).toBe(b.node.id);
    await pass(10_000);
    expect(a.node.id).not.toBe(b.node.id);
    expect([a.node.state, b.node.state]).toEqual(['up', 'up']);
    expect([...a.events, ...b.events].some(([kind]) => kind === 'error')).toBe(true);
    await Promise.all([a.join('x', '1'), b.join('x', '2'), pass(200)]);
    a.broadcast('x', 'from a');
    b.broadcast('x', 'from b');
    await pass(15_000);
    expect(a.member('x', '1')?.received).toEqual(['from a', 'from b']);
    expect(b.member('x', '2')?.received).toEqual(['from b', 'from a']);
    expect(a.node.infos).toHaveLength(2);
    expect(b.node.infos).toHaveLength(2);
  });

  test('a connection to the broker that does not answer after a reconnect is replaced', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([b.join('x', '1'), pass(200)]);
    const subscribe = b.adapter.subscribe.bind(b.adapter);
    const resubscribe = b.adapter.resubscribe.bind(b.adapter);
    // The client of the user has found the new master of a failover; the receiving connection still leads to the old
    // one.
    b.adapter.subscribe = () =>
      new Promise((_, reject) => setTimeout(() => reject(new Error('No answer')), 5_000));
    b.adapter.resubscribe = () => {
      b.adapter.subscribe = subscribe;
      resubscribe();
    };
    cluster.bus.cut(b.adapter);
    cluster.bus.mend(b.adapter);
    await pass(20_000);
    expect(b.node.state).toBe('up');
    expect(kinds(b)).toEqual(['degraded', 'recovered']);
    a.broadcast('x', 'heard');
    await pass(10);
    expect(b.member('x', '1')?.received).toEqual(['heard']);
  });

  test('a node that has taken a new id still notices that it receives nothing', async () => {
    const cluster = new FakeCluster();
    const bootId = Buffer.alloc(8, 7);
    const a = cluster.add({}, { bootId });
    // Many heartbeats before the other one comes.
    await pass(100_000);
    const b = cluster.add({}, { bootId });
    await pass(20_000);
    expect(a.node.id).not.toBe(b.node.id);
    expect([a.node.state, b.node.state]).toEqual(['up', 'up']);
    const renamed = [a, b].find(({ node }) => node.id !== bootId.toString('hex'))!;
    cluster.bus.deafen(a.adapter);
    cluster.bus.deafen(b.adapter);
    await pass(15_000);
    expect(fallsOf(renamed)).toEqual(['receive']);
    expect(fallsOf(a)).toEqual(['receive']);
    expect([a.node.state, b.node.state]).toEqual(['up', 'up']);
  });

  test('invalid bytes are counted and dropped, with one error event per sender and minute', async () => {
    const cluster = new FakeCluster();
    const [a] = await cluster.start(1);
    const stranger = cluster.bus.adapter();
    stranger.start({
      receive: () => undefined,
      up: () => undefined,
      down: () => undefined,
      warn: () => undefined,
    });
    await pass(10);
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('{}'),
      Buffer.alloc(100),
      Buffer.from([0xc5, 9, ...Buffer.alloc(30)]),
    ]) {
      void stranger.publish('a', bytes);
    }
    await pass(10);
    expect(a.node.stats()).toMatchObject({ invalid: 3, unknown: 1 });
    expect(kinds(a)).toEqual(['error']);
    expect(a.node.state).toBe('up');
    await stranger.close();
  });

  test('a node that was cut off for long reports no other node as lost, and the others learn that it is back', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    cluster.bus.cut(b.adapter);
    await pass(20_000);
    expect(b.events.filter(([kind, , change]) => kind === 'node' && change === 'lost')).toEqual([]);
    cluster.bus.mend(b.adapter);
    await pass(8_000);
    expect(b.events.filter(([kind, , change]) => kind === 'node' && change === 'lost')).toEqual([]);
    expect(a.events.at(-1)).toEqual(['node', b.node.id, 'joined']);
  });

  test('a count does not wait for a node without connections', async () => {
    const cluster = new FakeCluster();
    const [a, b] = await cluster.start(2);
    await Promise.all([a.join('x', '1'), pass(200)]);
    cluster.bus.deafen(b.adapter);
    const count = a.node.outgoing.count('x', undefined);
    await pass(10);
    expect(await count).toEqual({ total: 1, answered: 1, missing: [] });
    b.broadcast('x', 'from a worker');
    await pass(10);
    expect(a.member('x', '1')?.received).toEqual(['from a worker']);
    await pass(10_000);
    await Promise.all([b.join('x', '2'), pass(200)]);
    const both = a.node.outgoing.count('x', undefined);
    await pass(10);
    expect(await both).toEqual({ total: 2, answered: 2, missing: [] });
  });
});
