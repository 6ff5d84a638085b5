import { afterEach, expect, test, vi } from 'vitest';
import { botsPerStep, makeTraffic, STEP_INTERVAL_MS } from '../src/show/traffic.js';

afterEach(() => void vi.useRealTimers());

/** What is sent in ten seconds while there are bots and slow readers. */
function sentOn(host: string) {
  vi.useFakeTimers();
  const chat = { hasNamespace: () => true, broadcastMessage: vi.fn(), broadcastJsonMessage: vi.fn() };
  makeTraffic(chat, host);
  vi.advanceTimersByTime(10_000);
  const floods = chat.broadcastMessage.mock.calls.map(([, message]) => message as string);
  return { floods, prices: chat.broadcastJsonMessage.mock.calls.length };
}

test('slow readers are flooded, and bots get a price each second', () => {
  const { floods, prices } = sentOn('127.0.0.1');
  expect([floods.length, prices]).toEqual([200, 210]);
});

test('a page in the namespace of the slow readers can read what they are flooded with', () => {
  const { floods } = sentOn('127.0.0.1');
  expect(JSON.parse(floods[0]!)).toMatchObject({ type: 'flood' });
});

test.each(['0.0.0.0', '::', '192.0.2.1', 'chat.example'])('nobody is sent anything on %s', (host) => {
  expect(sentOn(host)).toEqual({ floods: [], prices: 0 });
});

test.each([
  [100, 100],
  [50, 40],
  [1, 20],
  [5_000, 200],
])('with a rate of %i per second, bots come and go at %i per second', (rate, perSecond) => {
  expect((botsPerStep(rate) * 1_000) / STEP_INTERVAL_MS).toBe(perSecond);
});
