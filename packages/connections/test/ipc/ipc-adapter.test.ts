import { describe, expect, test } from 'vitest';
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

test('an adapter is down when the primary does not relay, and up as soon as it does', async () => {
  const cluster = new FakeCluster();
  const { process } = cluster.fork('json');
  const [adapter, link] = [new IpcAdapter(process, 'soketi'), new RecordedLink()];
  adapter.start(link);
  await link.untilDown();
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
