import { expect, test } from 'vitest';
import { IpcAdapter } from '../../src/ipc/ipc-adapter.js';
import { PrimaryRelay } from '../../src/ipc/relay-workers.js';
import { FakeCluster, type Serialization } from '../support/ipc-channels.js';
import { RecordedLink } from '../support/recorded-link.js';

const MAX_UNSENT_BYTES = 100_000;

async function start(cluster: FakeCluster, serialization: Serialization = 'advanced') {
  const worker = cluster.fork(serialization);
  const [adapter, link] = [new IpcAdapter(worker.process, 'soketi'), new RecordedLink()];
  adapter.start(link);
  await link.untilUp();
  await adapter.subscribe(['c']);
  return { worker, adapter, link };
}

test('a worker that does not read loses messages, while the primary keeps its memory bounded and other workers lose nothing', async () => {
  const cluster = new FakeCluster();
  const relay = new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, stuck, other] = [await start(cluster), await start(cluster), await start(cluster)];
  stuck.worker.isStuck = true;
  for (let index = 0; index < 100; index++) await publisher.adapter.publish('c', Buffer.alloc(10_000));
  await other.link.until(() => other.link.total === 100);
  expect(stuck.worker.unread.length).toBe(9);
  expect(relay.dropped).toBe(91);
});

test.each([0, 31, 97, 255])(
  'bytes of the value %i take no more of the primary than maxUnsentBytes as JSON',
  async (value) => {
    // JSON writes a control character with six bytes, and one above 0x7f takes two: a limit of 32 MiB was 350 MB.
    const cluster = new FakeCluster();
    new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
    const [publisher, stuck] = [await start(cluster), await start(cluster, 'json')];
    stuck.worker.isStuck = true;
    for (let index = 1; index <= 20; index++) {
      await publisher.adapter.publish('c', Buffer.alloc(10_000, value));
      await publisher.link.until(() => publisher.link.total === index);
    }
    const taken = stuck.worker.unread.map((message) => Buffer.byteLength(JSON.stringify(message)));
    expect(taken.length).toBeGreaterThan(0);
    expect(taken.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(MAX_UNSENT_BYTES);
  },
);

test('a relay sends nothing more to a worker that is gone', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, gone] = [await start(cluster), await start(cluster)];
  gone.worker.isStuck = true;
  cluster.emit('disconnect', gone.worker);
  cluster.emit('exit', gone.worker);
  await publisher.adapter.publish('c', Buffer.from('1'));
  await publisher.link.until(() => publisher.link.total === 1);
  expect(gone.worker.unread).toEqual([]);
});

test('a relay sends nothing more to an adapter that is closed', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [publisher, closed] = [await start(cluster), await start(cluster)];
  await closed.adapter.close();
  await new Promise(setImmediate);
  closed.worker.isStuck = true;
  await publisher.adapter.publish('c', Buffer.from('1'));
  await publisher.link.until(() => publisher.link.total === 1);
  expect(closed.worker.unread).toEqual([]);
});

/**
 * Objects that throw when they are converted to a string or a number; `serialization: 'advanced'` can deliver such
 * objects.
 */
const THROWING = { toString: 1, valueOf: 1 };

const KIND = 'soketi:relay';
const strange: readonly unknown[] = [
  ...[
    null,
    0,
    'text',
    [],
    {},
    { [KIND]: null },
    { [KIND]: 'message' },
    { [KIND]: THROWING, prefix: THROWING },
  ],
  { [KIND]: 'hello', prefix: 'soketi', session: THROWING, probe: THROWING },
  { [KIND]: 'hello', prefix: THROWING },
  ...['subscribe', 'unsubscribe'].flatMap((kind) => [
    { [KIND]: kind, prefix: 'soketi' },
    { [KIND]: kind, prefix: 'soketi', channels: 5 },
    { [KIND]: kind, prefix: 'soketi', channels: [THROWING, null, 5, []], request: THROWING },
  ]),
  ...[undefined, null, 5, THROWING, {}, [], { type: 'Buffer', data: [1] }, new Float64Array(1)].flatMap(
    (data) => [
      { [KIND]: 'message', prefix: 'soketi', channel: 'c', data },
      { [KIND]: 'message', prefix: 'soketi', channel: THROWING, data },
    ],
  ),
  { [KIND]: 'done', prefix: 'soketi', request: 1 },
  { [KIND]: '__proto__', prefix: '__proto__' },
];

test('invalid messages of a worker affect neither the primary nor other workers', async () => {
  const cluster = new FakeCluster();
  new PrimaryRelay(cluster, MAX_UNSENT_BYTES);
  const [one, other] = [await start(cluster), await start(cluster)];
  const stranger = cluster.fork('advanced');
  for (const worker of [stranger, stranger, one.worker]) {
    for (const message of strange) cluster.emit('message', worker, message);
  }
  await one.adapter.subscribe(['c']);
  await other.adapter.publish('c', Buffer.from('1'));
  await one.link.until(() => one.link.total === 1);
  expect(one.link.texts('c')).toEqual(['1']);
});
