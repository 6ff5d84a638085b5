import { describe, expect, test, vi } from 'vitest';
import { IpcAdapter } from '../../src/ipc/ipc-adapter.js';
import { PrimaryRelay } from '../../src/ipc/relay-workers.js';
import { ipcAdapter, relayWorkers } from '../../src/ipc.js';
import { describeAdapter } from '../support/describe-adapter.js';
import { FakeCluster, type Serialization } from '../support/ipc-channels.js';
import { RecordedLink } from '../support/recorded-link.js';

const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

const serializations: readonly Serialization[] = ['advanced', 'json'];

describe.each(serializations)('serialization %s', (serialization) => {
  const cluster = new FakeCluster();
  let relay = new PrimaryRelay(cluster, MAX_UNSENT_BYTES);

  describeAdapter(`ipcAdapter with the serialization "${serialization}"`, {
    broker: {
      kill: () => {
        relay.close();
      },
      start: () => {
        relay = new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
      },
    },
    node: () => {
      const { process } = cluster.fork(serialization);
      return Promise.resolve({
        adapter: new IpcAdapter(process, 'soketi'),
        listeners: () => process.listenerCount('message') + process.listenerCount('disconnect'),
        isConnected: () => Promise.resolve(process.connected),
        end: () => undefined,
      });
    },
  });
});

/** An adapter in a new worker, which is up. */
async function start(cluster: FakeCluster, serialization: Serialization = 'json', prefix = 'soketi') {
  const worker = cluster.fork(serialization);
  const [adapter, link] = [new IpcAdapter(worker.process, prefix), new RecordedLink()];
  adapter.start(link);
  await link.untilUp();
  return { worker, adapter, link };
}

test('workers of both serializations understand each other', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const nodes = [await start(cluster, 'advanced'), await start(cluster, 'json')];
  for (const { adapter } of nodes) await adapter.subscribe(['c']);
  const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, value) => value));
  for (const { adapter } of nodes) await adapter.publish('c', all);
  for (const { link } of nodes) {
    await link.until(() => link.total === 2);
    expect(link.received.get('c')).toEqual([all, all]);
  }
});

test('two adapters of one worker with different prefixes do not receive the messages of each other', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const { process } = cluster.fork('json');
  const [one, other] = [new RecordedLink(), new RecordedLink()];
  const [first, second] = [new IpcAdapter(process, 'a'), new IpcAdapter(process, 'ab')];
  first.start(one);
  second.start(other);
  await Promise.all([one.untilUp(), other.untilUp()]);
  await Promise.all([first.subscribe(['bc', 'c']), second.subscribe(['c'])]);
  await first.publish('bc', Buffer.from('of the first'));
  await second.publish('c', Buffer.from('of the second'));
  await Promise.all([one.until(() => one.total > 0), other.until(() => other.total > 0)]);
  expect([one.texts('bc'), one.texts('c'), other.texts('c')]).toEqual([
    ['of the first'],
    [],
    ['of the second'],
  ]);
  first.resubscribe();
  await one.untilUp();
  await second.publish('c', Buffer.from('again'));
  await other.until(() => other.total === 2);
});

test('two adapters of one worker with the same prefix are a mistake, unless the first is closed', async () => {
  // The primary knows a worker by its prefix: when one of them left, or subscribed again, the other one became deaf.
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const { worker, adapter } = await start(cluster);
  const [second, link] = [new IpcAdapter(worker.process, 'soketi'), new RecordedLink()];
  expect(() => second.start(link)).toThrow(/prefix/);
  const closed = adapter.close();
  second.start(link);
  await Promise.all([closed, link.untilUp()]);
  await second.subscribe(['c']);
  await second.publish('c', Buffer.from('1'));
  await link.until(() => link.total === 1);
});

test('what is under way when an adapter subscribes again still arrives', async () => {
  // A primary that stood still for 5 s had everybody subscribe again, and what they then read was thrown away.
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, other] = [await start(cluster), await start(cluster)];
  await other.adapter.subscribe(['c']);
  await publisher.adapter.publish('c', Buffer.from('1'));
  expect(other.link.total).toBe(0);
  other.adapter.resubscribe();
  await other.link.untilUp();
  expect(other.link.texts('c')).toEqual(['1']);
});

test('a message that is on its way to the primary when an adapter subscribes again is published', async () => {
  // It was counted as dropped, and arrived.
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const { adapter, link } = await start(cluster);
  await adapter.subscribe(['c']);
  const published = adapter.publish('c', Buffer.from('1'));
  adapter.resubscribe();
  await expect(published).resolves.toBeUndefined();
  await link.until(() => link.total === 1);
});

test('messages that come while an adapter subscribes again arrive once', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, other] = [await start(cluster), await start(cluster)];
  await other.adapter.subscribe(['c']);
  other.adapter.resubscribe();
  await other.link.untilUp();
  await publisher.adapter.publish('c', Buffer.from('1'));
  await other.adapter.subscribe(['c']);
  await publisher.adapter.publish('c', Buffer.from('2'));
  await other.link.until(() => other.link.texts('c').includes('2'));
  expect(other.link.texts('c')).toEqual(['1', '2']);
});

test('an adapter that is closed while it is down receives nothing more', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  // The one that was subscribed last is sent to last.
  const [other, publisher] = [await start(cluster), await start(cluster)];
  for (const { adapter } of [other, publisher]) await adapter.subscribe(['c']);
  other.adapter.resubscribe();
  await other.adapter.close();
  const heard: unknown[] = [];
  other.worker.process.on('message', (message) => heard.push(message));
  await publisher.adapter.publish('c', Buffer.from('1'));
  await publisher.link.until(() => publisher.link.total === 1);
  expect(heard).not.toContainEqual(expect.objectContaining({ channel: 'c' }));
});

test('the next adapter of a worker hears nothing of what the one before has left behind', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, other] = [await start(cluster), await start(cluster)];
  await other.adapter.subscribe(['c']);
  // It is down when it is closed.
  other.adapter.resubscribe();
  await other.adapter.close();
  const [next, link] = [new IpcAdapter(other.worker.process, 'soketi'), new RecordedLink()];
  next.start(link);
  await link.untilUp();
  await publisher.adapter.publish('c', Buffer.from('1'));
  await next.subscribe(['d']);
  await publisher.adapter.publish('d', Buffer.from('2'));
  await link.until(() => link.total > 0);
  expect([link.texts('c'), link.texts('d')]).toEqual([[], ['2']]);
});

test('an adapter is down when the primary does not relay, and up as soon as it does', async () => {
  const cluster = new FakeCluster();
  const { process } = cluster.fork('json');
  const [adapter, link] = [new IpcAdapter(process, 'soketi'), new RecordedLink()];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    adapter.start(link);
    await vi.advanceTimersByTimeAsync(1_000);
  } finally {
    vi.useRealTimers();
  }
  expect(link.downs[0]!.message).toMatch(/relayWorkers/);
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  await link.untilUp();
  await adapter.close();
});

test('an adapter is down as soon as its primary disconnects, and waiting calls reject', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const { worker, adapter, link } = await start(cluster);
  const waiting = adapter.subscribe(['c']);
  worker.disconnect();
  expect(link.isUp).toBe(false);
  await expect(waiting).rejects.toThrow(/disconnected/);
  await expect(adapter.publish('c', Buffer.from(''))).rejects.toThrow(Error);
});

test('an adapter ignores other messages of the program on the same IPC channel', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const { worker, link } = await start(cluster);
  for (const message of [null, 'text', 0, { cmd: 'shutdown' }, []]) worker.process.emit('message', message);
  expect([link.ups, link.downs, link.warnings, link.total]).toEqual([1, [], [], 0]);
});

test('ipcAdapter and relayWorkers refuse a wrong process and wrong options', () => {
  expect(() => ipcAdapter()).toThrow(/worker/);
  expect(() => ipcAdapter({ prefix: 1 as never })).toThrow(TypeError);
  expect(() => relayWorkers({ maxUnsentBytes: 0 })).toThrow(RangeError);
  expect(() => relayWorkers({ maxUnsentBytes: NaN })).toThrow(RangeError);
  expect(() => relayWorkers({ maxUnsentBytes: '5' as never })).toThrow(TypeError);
  // The misspelt prefix was ignored, and two applications on a machine became one cluster.
  expect(() => ipcAdapter({ prefx: 'chat' } as never)).toThrow(/prefx/);
  expect(() => relayWorkers({ maxUnsent: 1 } as never)).toThrow(/maxUnsent/);
});

test('a process has at most one relay at a time', () => {
  // With a second relay, everything was delivered twice.
  const relay = relayWorkers();
  expect(() => relayWorkers()).toThrow(/already/);
  relay.close();
  relayWorkers().close();
});
