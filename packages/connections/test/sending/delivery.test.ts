import { expect, test } from 'vitest';
import { Delivery, PendingCopy, PrivateMessage } from '../../src/sending/delivery.js';
import { Envelope } from '../../src/sending/envelope.js';
import { deliveryOf } from '../support/entries.js';

test('a delivery resolves when the last copy has been counted, with all counts', async () => {
  const delivery = deliveryOf(5);
  let isDone = false;
  const result = delivery.result().finally(() => (isDone = true));
  delivery.count('sent', 2);
  delivery.count('dropped');
  delivery.count('failed');
  await Promise.resolve();
  expect(isDone).toBe(false);
  delivery.count('sent');
  expect(await result).toEqual({ recipients: 5, sent: 3, dropped: 1, failed: 1, conflated: 0 });
});

test('a delivery resolves although all copies were counted before anybody asked', async () => {
  const delivery = deliveryOf(1);
  delivery.count('failed');
  expect(await delivery.result()).toEqual({ recipients: 1, sent: 0, dropped: 0, failed: 1, conflated: 0 });
});

test('a delivery to nobody resolves at once', async () => {
  expect(await new Delivery().result()).toEqual({
    recipients: 0,
    sent: 0,
    dropped: 0,
    failed: 0,
    conflated: 0,
  });
});

test.each([
  ['sent', true],
  ['dropped', false],
  ['failed', false],
] as const)(
  'a delivery of one copy that is %s resolves with %s, whether asked before or after',
  async (outcome, isSent) => {
    const [before, after] = [new PendingCopy(), new PendingCopy()];
    const sent = before.sent;
    for (const pending of [before, after]) pending.count(outcome);
    expect([await sent, await after.sent, after.outcome]).toEqual([isSent, isSent, isSent]);
  },
);

test('the length of a private message is that of its frame', () => {
  expect(new PrivateMessage(new Envelope('x'.repeat(200))).byteLength).toBe(204);
});
