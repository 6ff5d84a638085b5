import { afterEach, expect, test, vi } from 'vitest';
import { makeTraffic } from '../src/show/traffic.js';

afterEach(() => void vi.useRealTimers());

/** What is sent in ten seconds while there are bots and slow readers. */
function sentOn(host: string) {
  vi.useFakeTimers();
  const chat = { hasNamespace: () => true, broadcastMessage: vi.fn(), broadcastJsonMessage: vi.fn() };
  makeTraffic(chat, host);
  vi.advanceTimersByTime(10_000);
  return {
    floods: chat.broadcastMessage.mock.calls.length,
    prices: chat.broadcastJsonMessage.mock.calls.length,
  };
}

test('slow readers are flooded, and bots get a price each second', () => {
  expect(sentOn('127.0.0.1')).toEqual({ floods: 200, prices: 210 });
});

test.each(['0.0.0.0', '::', '192.0.2.1', 'chat.example'])('nobody is sent anything on %s', (host) => {
  expect(sentOn(host)).toEqual({ floods: 0, prices: 0 });
});
