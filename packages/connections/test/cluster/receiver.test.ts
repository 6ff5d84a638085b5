import { expect, test } from 'vitest';
import { encodeBatch } from '../../src/cluster/batch.js';
import { newClusterCounters } from '../../src/cluster/cluster-stats.js';
import { NodeIdentity } from '../../src/cluster/identity.js';
import { Receiver, type Received } from '../../src/cluster/receiver.js';

const MINUTE_MS = 60_000;

/** A receiver, and another node that publishes to it. */
function newReceiver() {
  const counters = newClusterCounters();
  const batches: Received[] = [];
  const fail = (): never => {
    throw new Error('not expected');
  };
  const unwanted = new Set<string>();
  const receiver = new Receiver(new NodeIdentity(), counters, {
    isWanted: (channel) => !unwanted.has(channel),
    onBatch: (batch) => batches.push(batch),
    onEcho: fail,
    onClone: fail,
    onError: fail,
  });
  const sender = new NodeIdentity();
  const publish = (channel: string, isLost = false): void => {
    const sequence = sender.sequenceOf(channel);
    const bytes = encodeBatch(sender.bytes, sequence.next++, sequence.starts, []);
    sequence.starts = false;
    if (!isLost) receiver.receive(channel, bytes);
  };
  return { receiver, sender, publish, unwanted, counters, batches };
}

// The numbers of a channel that was forgotten go on after those of all other channels. When the first batch was lost,
// the second one counted the whole jump: 100,000 batches for one.
test('after a sender has forgotten a channel, one lost batch counts as one', () => {
  const { sender, publish, counters, batches } = newReceiver();
  publish('quiet');
  for (let i = 0; i < 1_000; i++) publish('busy');
  sender.forget(performance.now() + MINUTE_MS);
  publish('quiet', true);
  publish('quiet');
  expect(counters.gaps).toBe(1);
  expect(batches.at(-1)).toMatchObject({ channel: 'quiet', followsLoss: true });
  publish('quiet', true);
  publish('quiet', true);
  publish('quiet');
  expect(counters).toMatchObject({ gaps: 3, received: 1_003, duplicates: 0 });
});

test('a channel that a sender has forgotten and begins again has no gap', () => {
  const { sender, publish, counters, batches } = newReceiver();
  for (let i = 0; i < 3; i++) publish('a');
  sender.forget(performance.now() + MINUTE_MS);
  for (let i = 0; i < 3; i++) publish('a');
  expect(counters).toMatchObject({ gaps: 0, received: 6, duplicates: 0 });
  expect(batches.some(({ followsLoss }) => followsLoss)).toBe(false);
});

// A batch that was under way when its channel was given up was remembered as long as its sender lived: many short-lived
// namespaces filled the memory.
test('nothing is remembered of a batch whose channel was given up while it was under way', () => {
  const { receiver, publish, unwanted, counters, batches } = newReceiver();
  publish('a');
  unwanted.add('a');
  receiver.forgetChannel('a');
  publish('a');
  // It is applied all the same: its sender may wait for an answer.
  expect(batches).toHaveLength(2);
  unwanted.delete('a');
  publish('a', true);
  publish('a');
  expect(counters).toMatchObject({ gaps: 0, received: 3 });
  expect(batches.at(-1)).toMatchObject({ followsLoss: true });
});
