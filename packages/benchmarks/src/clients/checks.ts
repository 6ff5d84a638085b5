import type { Burst, Load } from '../load.js';
import { HEADER_LENGTH, headerOffset, readHeader, Texts } from '../messages.js';
import type { Inflater } from './inflater.js';
import type { Check } from './same-stream.js';

/** Puts a text into what the protocol sends for it. */
export type Wrap = (text: string) => string;

function assertCount(received: number, expected: number): void {
  if (received !== expected) throw new Error(`Expected ${expected} messages, got ${received}`);
}

function assertSame(received: string, expected: string, what: string): void {
  if (received !== expected) {
    throw new Error(`Expected ${what} to be ${expected.slice(0, 80)}, got ${received.slice(0, 80)}`);
  }
}

/** The messages of a load, in order. @param latencies gets one per turn, where the messages tell their time */
export function inOrder(load: Load, wrap: Wrap, completedAt: readonly bigint[], latencies: number[]): Check {
  const texts = new Texts(load);
  const headerAt = wrap('').length > 0 ? wrap('x').indexOf('x') : headerOffset(load.kind);
  return (payloads) => {
    assertCount(payloads.length, load.turns * load.pattern.length);
    payloads.forEach((payload, index) => {
      const text = payload.toString();
      const { stampNanos } = readHeader(text.slice(headerAt, headerAt + HEADER_LENGTH));
      const position = load.base + index;
      assertSame(text, wrap(texts.at(position, undefined, stampNanos)), `message ${position}`);
      if (load.gapMs === 0 || index % load.pattern.length !== 0) return;
      const completed = completedAt[index / load.pattern.length] ?? 0n;
      latencies.push(Number(completed - stampNanos) / 1000);
    });
    return Promise.resolve();
  };
}

/** The same, compressed. */
export function compressedInOrder(load: Load, wrap: Wrap, inflater: Inflater): Check {
  const texts = new Texts(load);
  return async (payloads, isCompressed) => {
    assertCount(payloads.length, load.turns * load.pattern.length);
    if (isCompressed.includes(false)) throw new Error('A message was not compressed');
    const expected = payloads.map((_, index) => wrap(texts.at(load.base + index))).join('');
    assertSame(await inflater.inflate(payloads), expected, 'the decompressed messages');
  };
}

/** What the clients themselves have broadcast: each burst complete, in whatever order. */
export function anyOrder({ senders, times, bytes, base }: Burst, wrap: Wrap): Check {
  const texts = new Texts({ kind: 'text', bytes });
  return (payloads) => {
    assertCount(payloads.length, times * senders);
    for (let burst = 0; burst < times; burst++) {
      const first = burst * senders;
      const received = payloads.slice(first, first + senders).map((payload) => payload.toString());
      const expected = Array.from({ length: senders }, (_, index) => wrap(texts.at(base + first + index)));
      assertSame(received.sort().join(), expected.sort().join(), `burst ${burst}`);
    }
    return Promise.resolve();
  };
}
