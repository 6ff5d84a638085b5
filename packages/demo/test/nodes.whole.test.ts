import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { hasSignals } from '../../connections/test/support/requires.js';
import type { NodeView } from '../src/show/state.js';
import { ChatClient } from './support/chat-client.js';
import { Demo, TIMEOUT_MS } from './support/demo.js';

const RATE = 50;
const BOTS = 200;

describe.skipIf(!hasSignals)('three nodes', { timeout: TIMEOUT_MS }, () => {
  let demo: Demo;

  beforeAll(async () => {
    demo = await Demo.start({ DRAIN_PER_SECOND: `${RATE}` });
  }, TIMEOUT_MS);
  afterAll(() => demo.kill());

  test('users on two nodes see each other, talk in a room and in private, and kick each other', async () => {
    const ada = await ChatClient.join(demo.url, 'Ada');
    const bob = await demo.joinWhere('Bob', (node) => node !== ada.node);
    await ada.sees('general', ({ Bob }) => Bob === 1);
    expect(await bob.sees('general', ({ Ada }) => Ada === 1)).toEqual({ Ada: 1, Bob: 1 });
    ada.send({ type: 'say', room: 'general', text: 'hello' });
    expect(await bob.next()).toEqual({ type: 'said', room: 'general', from: 'Ada', text: 'hello' });
    bob.send({ type: 'whisper', to: 'Ada', text: 'psst' });
    expect(await ada.next()).toMatchObject({ type: 'said' });
    expect(await ada.next()).toEqual({ type: 'whispered', from: 'Bob', to: 'Ada', text: 'psst' });
    bob.send({ type: 'typing', room: 'general' });
    expect(await ada.next()).toEqual({ type: 'typing', room: 'general', user: 'Bob' });
    ada.send({ type: 'kick', user: 'Bob' });
    expect(await bob.closed).toEqual({ code: 1008, reason: 'Kicked by Ada' });
    expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
  });

  test('a node that restarts closes its clients at the rate, and all of them are back on the others', async () => {
    expect(await demo.order({ do: 'bots', count: BOTS })).toEqual({ ok: true });
    await demo.until(({ bots }) => bots.open === BOTS);
    const client = await ChatClient.join(demo.url, 'Eve');
    const node = Number(client.node.at(-1));
    const { pid, report } = await demo.node(node);
    expect(await demo.order({ do: 'restart', node, allAtOnce: false })).toEqual({ ok: true });
    const again = await demo.order({ do: 'restart', node, allAtOnce: true });
    expect(again).toEqual({ ok: false, problem: `Node ${node} restarts already; one at a time.` });
    expect(await client.closed).toEqual({ code: 1012, reason: 'The server restarts' });
    // New connections go to the other nodes from the first instant.
    for (let attempt = 0; attempt < 3; attempt++)
      expect((await ChatClient.join(demo.url, 'Eve')).node).not.toBe(client.node);
    const { series, bots } = await demo.until(
      (state) =>
        !state.isRestarting &&
        // The nodes report twice a second.
        state.nodes[node - 1]!.pid !== pid &&
        state.bots.open === BOTS &&
        state.nodes.every(({ state }) => state === 'ready'),
    );
    expect(bots.failed).toBe(0);
    const closes = series.map(([, closes]) => closes[node - 1]!);
    expect(Math.max(...closes)).toBeGreaterThan(0);
    const connections = report!.pool.connections;
    expect(closes.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(connections);
  });

  test('a node that closes everybody at once does not wait for a rate', async () => {
    await demo.order({ do: 'bots', count: BOTS });
    await demo.until(
      ({ bots, nodes }) => bots.open === BOTS && nodes.every(({ state }) => state === 'ready'),
    );
    const client = await ChatClient.join(demo.url, 'Ada');
    const node = Number(client.node.at(-1));
    const { pid } = await demo.node(node);
    await demo.order({ do: 'restart', node, allAtOnce: true });
    expect(await client.closed).toEqual({ code: 1012, reason: 'All at once' });
    const { happenings } = await demo.until(
      ({ bots, nodes, isRestarting }) =>
        !isRestarting &&
        nodes[node - 1]!.pid !== pid &&
        bots.open === BOTS &&
        nodes.every(({ state }) => state === 'ready'),
    );
    const texts = happenings.map(({ text }) => text);
    expect(texts).toContain(`node ${node} closes everybody at once, and ends.`);
    expect(texts).toContain(`node ${node} is there again, and takes clients.`);
  });

  test('a node that is killed starts again, and its clients are back', async () => {
    await demo.until(({ nodes }) => nodes.every(({ state }) => state === 'ready'));
    const client = await ChatClient.join(demo.url, 'Ada');
    const node = Number(client.node.at(-1));
    const { pid } = await demo.node(node);
    process.kill(pid!, 'SIGKILL');
    expect((await client.closed).code).toBe(1006);
    const { nodes, happenings } = await demo.until(
      (state) => state.nodes[node - 1]!.state === 'ready' && state.nodes[node - 1]!.pid !== pid,
    );
    expect(nodes.map(({ state }) => state)).toEqual(['ready', 'ready', 'ready']);
    expect(happenings.map(({ text }) => text)).toContain(
      `node ${node} has died (SIGKILL), and starts again.`,
    );
  });

  test('a node that is killed while it drains starts again', async () => {
    await demo.order({ do: 'bots', count: BOTS });
    const { nodes } = await demo.until(
      ({ bots, nodes }) =>
        bots.open === BOTS && nodes.every(({ state, report }) => state === 'ready' && report !== undefined),
    );
    // Its clients take more than a second to close.
    const [{ node, pid }] = nodes.toSorted(
      (a, b) => b.report!.pool.connections - a.report!.pool.connections,
    ) as [NodeView];
    await demo.order({ do: 'restart', node, allAtOnce: false });
    process.kill(pid!, 'SIGKILL');
    const { happenings } = await demo.until(
      ({ nodes, isRestarting }) =>
        !isRestarting && nodes[node - 1]!.state === 'ready' && nodes[node - 1]!.pid !== pid,
    );
    expect(happenings.at(-1)!.text).toBe(`node ${node} is there again, and takes clients.`);
  });

  test.each([
    [{ do: 'restart', node: 4, allAtOnce: false }, 'There is no node 4.'],
    [{ do: 'restart', node: 0, allAtOnce: false }, 'There is no node 0.'],
    [{ do: 'restart', node: 1.5, allAtOnce: false }, 'There is no node 1.5.'],
    [{ do: 'restart', node: null, allAtOnce: false }, 'node: '],
    [{ do: 'restart', node: 1 }, 'allAtOnce: '],
    [{ do: 'bots', count: -1 }, 'count: '],
    [{ do: 'bots', count: 2_001 }, 'count: '],
    [{ do: 'bots', count: null }, 'count: '],
    [{ do: 'bots', count: '200' }, 'count: '],
    [{ do: 'quit' }, 'do: '],
  ])('the order %j is refused with a sentence', async (order, problem) => {
    await demo.until(({ isRestarting }) => !isRestarting);
    const outcome = await demo.order(order);
    expect(outcome).toEqual({ ok: false, problem: expect.stringContaining(problem) as unknown });
  });

  test('a node that stood still and counted as lost is heard again, and its users are members again', async () => {
    await demo.until(({ nodes }) => nodes.every(({ state }) => state === 'ready'));
    const ada = await ChatClient.join(demo.url, 'Ada');
    const bob = await demo.joinWhere('Bob', (node) => node !== ada.node);
    await ada.sees('general', ({ Bob }) => Bob === 1);
    const { pid } = await demo.node(Number(bob.node.at(-1)));
    process.kill(pid!, 'SIGSTOP');
    try {
      // Its node does not answer: he may be there.
      ada.send({ type: 'whisper', to: 'Bob', text: 'are you there?' });
      expect(await ada.next()).toMatchObject({ type: 'whispered' });
      await ada.sees('general', ({ Bob }) => Bob === undefined);
    } finally {
      process.kill(pid!, 'SIGCONT');
    }
    expect(await ada.sees('general', ({ Bob }) => Bob === 1)).toEqual({ Ada: 1, Bob: 1 });
    expect(await bob.next()).toMatchObject({ type: 'whispered', text: 'are you there?' });
  });

  test('the figures of a slow reader can be seen until the pool has closed it', async () => {
    await demo.order({ do: 'slow reader' });
    const slow = await demo.until(({ nodes }) => nodes.some(({ report }) => report?.pool.slowNow === 1));
    expect(slow.bots).toMatchObject({ open: slow.bots.wanted, slowReaders: 1 });
    const { happenings } = await demo.until(({ happenings }) =>
      happenings.some(({ text }) => text.includes('its memory is free')),
    );
    expect(happenings.map(({ text }) => text).join()).toMatch(/Slow reader 1 does not read/);
  });

  test('there are five slow readers at most, however fast one clicks', async () => {
    await Promise.all(Array.from({ length: 5 }, () => demo.order({ do: 'slow reader' })));
    const problem = 'There are 5 slow readers already; each of them lives for 30 s.';
    expect(await demo.order({ do: 'slow reader' })).toEqual({ ok: false, problem });
    expect((await demo.until(({ bots }) => bots.slowReaders === 5)).bots.slowReaders).toBe(5);
  });
});

describe('one process', { timeout: TIMEOUT_MS }, () => {
  test('a demo of one process has bots and slow readers, and says why it cannot restart', async () => {
    const demo = await Demo.start({ NODES: '1' });
    onTestFinished(() => demo.kill());
    expect(await demo.order({ do: 'bots', count: 20 })).toEqual({ ok: true });
    expect(await demo.order({ do: 'slow reader' })).toEqual({ ok: true });
    await demo.until(({ bots, nodes }) => bots.open === 20 && nodes[0]!.report!.pool.slowNow === 1);
    expect(await demo.order({ do: 'bots', count: 0 })).toEqual({ ok: true });
    await demo.until(({ bots, nodes }) => bots.open === 0 && nodes[0]!.report!.pool.connections <= 1);
    expect(await demo.order({ do: 'restart', node: 1, allAtOnce: false })).toEqual({
      ok: false,
      problem: 'There is one process, and no other node to go to. Start without NODES=1.',
    });
    if (!hasSignals) return;
    demo.process.kill('SIGTERM');
    expect(await demo.ended).toBe(0);
    await expect.poll(() => demo.isAlive).toBe(false);
  });
});
