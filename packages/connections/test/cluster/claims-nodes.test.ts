import { describe, expect, test, vi } from 'vitest';
import { decodeHeader, decodeRecords, type BatchHeader } from '../../src/cluster/batch.js';
import { FakeCluster, pass, useFakeClusters, type FakeNode } from '../support/cluster-nodes.js';

const HOUR_MS = 3_600_000;
const isHolder = (node: FakeNode): boolean => node.member('x', '1') !== undefined;

/** Sets the clock of the host: that of the node that is called next. */
function clockOfHost(): { set: (ms: number) => void } {
  let nowMs = Date.now();
  vi.spyOn(Date, 'now').mockImplementation(() => nowMs);
  return { set: (ms) => (nowMs = ms) };
}

async function startNodes(bus = {}, bootIds: readonly (number | undefined)[] = [undefined, undefined]) {
  const cluster = new FakeCluster(bus, {}, { isExclusive: true });
  const [a, b] = bootIds.map((byte) =>
    cluster.add({}, { isExclusive: true, ...(byte !== undefined && { bootId: Buffer.alloc(8, byte) }) }),
  ) as [FakeNode, FakeNode];
  await pass(500);
  return { cluster, a, b };
}

describe('one connection for each id', () => {
  useFakeClusters();

  test('the last connection to join wins if the broker has one order for all nodes, even if their clocks are an hour apart', async () => {
    const clock = clockOfHost();
    const startMs = Date.now();
    const { a, b } = await startNodes();
    clock.set(startMs + HOUR_MS);
    await Promise.all([a.join('x', '1'), pass(50)]);
    clock.set(startMs);
    await Promise.all([b.join('x', '1'), pass(50)]);
    expect([isHolder(a), isHolder(b)]).toEqual([false, true]);
    clock.set(startMs - HOUR_MS);
    await Promise.all([a.join('x', '1'), pass(50)]);
    expect([isHolder(a), isHolder(b)]).toEqual([true, false]);
  });

  test('the later time of joining wins if the broker has no common order, and wrong clocks still leave one connection', async () => {
    const clock = clockOfHost();
    const startMs = Date.now();
    const { a, b } = await startNodes({ totalOrder: false });
    await Promise.all([a.join('x', '1'), pass(50)]);
    clock.set(startMs + 1);
    await Promise.all([b.join('x', '1'), pass(50)]);
    expect([isHolder(a), isHolder(b)]).toEqual([false, true]);
    clock.set(startMs - HOUR_MS);
    await Promise.all([a.join('x', '1'), pass(50)]);
    expect([isHolder(a), isHolder(b)]).toEqual([false, true]);
  });

  test.each([
    [1, 2],
    [2, 1],
  ])(
    'both nodes find the same winner if two connections join at the same time (ids %i and %i)',
    async (one, other) => {
      clockOfHost();
      const { a, b } = await startNodes({ totalOrder: false }, [one, other]);
      await Promise.all([a.join('x', '1'), b.join('x', '1'), pass(50)]);
      expect([isHolder(a), isHolder(b)]).toEqual([one > other, other > one]);
    },
  );

  test.each([true, false])(
    'a connection that joined during an outage wins exactly if it is the newer one (%s)',
    async (isNewer) => {
      const clock = clockOfHost();
      const startMs = Date.now();
      const { cluster, a, b } = await startNodes();
      cluster.bus.cut(b.adapter);
      await pass(10);
      await Promise.all([a.join('x', '1'), pass(50)]);
      clock.set(startMs + (isNewer ? 1_000 : -1_000));
      await Promise.all([b.join('x', '1'), pass(50)]);
      expect([isHolder(a), isHolder(b)]).toEqual([true, true]);
      cluster.bus.mend(b.adapter);
      await pass(1_000);
      expect([isHolder(a), isHolder(b)]).toEqual([!isNewer, isNewer]);
    },
  );

  test('a node whose clock shows that it was suspended announces itself again', async () => {
    const clock = clockOfHost();
    const startMs = Date.now();
    const { a } = await startNodes();
    await pass(10_000);
    const kinds: string[] = [];
    const publish = a.adapter.publish.bind(a.adapter);
    a.adapter.publish = (channel, message) => {
      if (channel === 'a') {
        for (const record of decodeRecords(message, decodeHeader(message) as BatchHeader).records) {
          kinds.push(record.kind === 'hello' && record.presence.isBack ? 'back' : record.kind);
        }
      }
      return publish(channel, message);
    };
    clock.set(startMs + HOUR_MS);
    await pass(3_700);
    expect(kinds).toContain('back');
    kinds.length = 0;
    await pass(10_000);
    expect(new Set(kinds)).toEqual(new Set(['beat']));
  });
});
