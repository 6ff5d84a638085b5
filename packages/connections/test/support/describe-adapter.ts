import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ClusterAdapter } from '../../src/index.js';
import { onTestFinished } from './on-test-finished.js';
import { failOnUncaught } from './no-uncaught.js';
import { RecordedLink } from './recorded-link.js';
import { runs } from './runs.js';

/*
 * The contract of `ClusterAdapter`, as tests that every adapter must pass.
 */

/** One node: an adapter that is not started yet, over a connection that belongs to the user. */
export interface AdapterNode {
  readonly adapter: ClusterAdapter;
  /** How many listeners the user's connection has. */
  readonly listeners: () => number;
  /** Whether the user's connection works. */
  isConnected(): Promise<boolean>;
  /** Ends the user's connection. */
  readonly end: () => Promise<void> | void;
}

/** A broker, and how to make nodes that use it. */
export interface AdapterHarness {
  node(): Promise<AdapterNode>;
  /** Stops the broker and starts it again; omitted if it cannot be stopped. */
  readonly broker?: { readonly kill: () => Promise<void> | void; readonly start: () => Promise<void> | void };
}

/** Names that mean something to a broker, to a parser or to a string function. */
const HOSTILE_CHANNELS: readonly string[] = [
  ...[
    '',
    ' ',
    '.',
    '..',
    '*',
    '>',
    '?',
    '[a-z]',
    '%',
    '%20',
    ':',
    '__proto__',
    'constructor',
    '{a}',
    '$SYS.>',
  ],
  ...[
    'a',
    'A',
    'a.b',
    'a..b',
    'a.*',
    'a.>',
    'a b',
    'a\tb',
    'a\nb',
    'a\r\nPUBLISH x 1\r\n',
    'a\0b',
    '\0',
    'a:b',
  ],
  ...[
    'é',
    'e\u0301',
    '\u{1f600}',
    '\u2028',
    '\ufeff',
    '\ufffd',
    '_',
    '-',
    '=',
    'YQ',
    'YQ==',
    'a%2Eb',
    'a_2Eb',
  ],
  ...['x'.repeat(255), 'x'.repeat(256), 'x'.repeat(10 * 1024), `${'x'.repeat(10 * 1024 - 1)}y`],
];

const MANY = runs({ quick: 1_100, ci: 10_000 });
const MESSAGES = runs({ quick: 200, ci: 2_000 });
/** The cluster layer subscribes to at most this many channels at once. */
const BATCH = 512;
const MEBIBYTE = 1024 * 1024;

interface Started extends AdapterNode {
  readonly link: RecordedLink;
}

/** Runs the contract against an adapter. */
export function describeAdapter(title: string, harness: AdapterHarness): void {
  const start = async (channels: readonly string[] = []): Promise<Started> => {
    const node = await harness.node();
    const link = new RecordedLink();
    onTestFinished(async () => {
      await node.adapter.close();
      await node.end();
    });
    node.adapter.start(link);
    await link.untilUp();
    for (let from = 0; from < channels.length; from += BATCH)
      await node.adapter.subscribe(channels.slice(from, from + BATCH));
    return { ...node, link };
  };
  /** Resolves when everything that was published before has arrived. */
  const settle = async (from: Started, to: Started): Promise<void> => {
    const channel = `settled ${randomBytes(8).toString('hex')}`;
    await to.adapter.subscribe([channel]);
    await from.adapter.publish(channel, Buffer.from('end'));
    await to.link.until(() => to.link.received.has(channel));
    to.link.received.delete(channel);
    await to.adapter.unsubscribe([channel]);
  };

  describe(title, () => {
    failOnUncaught();
    describeMessages(title, start, settle);
    describeThrowing(title, start);
    describeChannels(title, start, settle);
    describeLife(title, harness, start, settle);
    if (harness.broker !== undefined) describeAbsence(title, harness.broker, start, settle);
  });
}

type Start = (channels?: readonly string[]) => Promise<Started>;
type Settle = (from: Started, to: Started) => Promise<void>;

function describeMessages(title: string, start: Start, settle: Settle): void {
  test(`a message reaches each node that has subscribed, and its publisher if the traits say so: ${title}`, async () => {
    const [publisher, other, third] = [await start(['c']), await start(['c']), await start(['d'])];
    await publisher.adapter.publish('c', Buffer.from('hello'));
    await settle(publisher, other);
    await settle(publisher, third);
    expect(other.link.texts('c')).toEqual(['hello']);
    expect(third.link.total).toBe(0);
    if (publisher.adapter.traits.echo) await settle(publisher, publisher);
    expect(publisher.link.texts('c')).toEqual(publisher.adapter.traits.echo ? ['hello'] : []);
  });

  test(`the bytes of a message arrive unchanged in one Buffer, whether empty, of all values, or of 1 MiB: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, value) => value));
    const messages = [
      Buffer.alloc(0),
      all,
      Buffer.from('\r\n+OK\r\n$-1\r\n'),
      randomBytes(MEBIBYTE),
      Buffer.from('é'),
    ];
    for (const message of messages) await publisher.adapter.publish('c', message);
    await settle(publisher, other);
    const received = other.link.received.get('c')!;
    expect(received.map((message) => message.length)).toEqual(messages.map((message) => message.length));
    expect(received.every((message, index) => message.equals(messages[index]!))).toBe(true);
  });

  test(`a message that is a part of a larger Buffer arrives without the rest: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    await publisher.adapter.publish('c', Buffer.from('before message after').subarray(7, 14));
    await settle(publisher, other);
    expect(other.link.texts('c')).toEqual(['message']);
  });

  test(`messages of one publisher arrive in order, without a gap, even if nobody waits for an answer: ${title}`, async () => {
    const [publisher, other] = [await start(['c']), await start(['c'])];
    const expected = Array.from({ length: MESSAGES }, (_, index) => `${index}`);
    await Promise.all(expected.map((text) => publisher.adapter.publish('c', Buffer.from(text))));
    await settle(publisher, other);
    expect(other.link.texts('c')).toEqual(expected);
  });

  test(`publish resolves with the number of receivers where the traits say that it is known: ${title}`, async () => {
    const [publisher] = [await start(['both']), await start(['both', 'one'])];
    const { countsReceivers } = publisher.adapter.traits;
    for (const [channel, count] of [
      ['both', 2],
      ['one', 1],
      ['none', 0],
    ] as const) {
      expect(await publisher.adapter.publish(channel, Buffer.from(''))).toBe(
        countsReceivers ? count : undefined,
      );
    }
  });
}

function describeThrowing(title: string, start: Start): void {
  test(`a receive that throws harms neither the process nor the next message: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    other.link.onReceive = () => {
      throw new Error('on purpose');
    };
    for (const text of ['1', '2', '3']) await publisher.adapter.publish('c', Buffer.from(text));
    await other.link.until(() => other.link.texts('c').length === 3);
    expect(other.link.texts('c')).toEqual(['1', '2', '3']);
    expect(other.link.isUp).toBe(true);
  });
}

function describeChannels(title: string, start: Start, settle: Settle): void {
  test(`channels with any names are distinguished: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(HOSTILE_CHANNELS)];
    for (const [index, channel] of HOSTILE_CHANNELS.entries())
      await publisher.adapter.publish(channel, Buffer.from(`${index}`));
    await settle(publisher, other);
    const received = HOSTILE_CHANNELS.map((channel) => other.link.texts(channel));
    expect(received).toEqual(HOSTILE_CHANNELS.map((_, index) => [`${index}`]));
    expect(other.link.total).toBe(HOSTILE_CHANNELS.length);
  });

  test(`a channel whose name is a pattern receives no message of other channels: ${title}`, async () => {
    const patterns = ['*', '>', 'a.*', 'a.>', '[a-z]', '?', 'a*', ''];
    const [publisher, other] = [await start(), await start(patterns)];
    for (const channel of HOSTILE_CHANNELS.filter((name) => !patterns.includes(name)))
      await publisher.adapter.publish(channel, Buffer.from(''));
    await settle(publisher, other);
    expect(other.link.total).toBe(0);
  });

  test(`more than a thousand channels can be subscribed to and unsubscribed from: ${title}`, async () => {
    const names = Array.from({ length: MANY }, (_, index) => `channel ${index}`);
    const [publisher, other] = [await start(), await start(names)];
    // Not all at once: on a busy machine the last one would wait for longer than a publish may take.
    for (let from = 0; from < MANY; from += BATCH) {
      const batch = names.slice(from, from + BATCH);
      await Promise.all(batch.map((name) => publisher.adapter.publish(name, Buffer.from(name))));
    }
    await settle(publisher, other);
    expect(names.every((name) => other.link.texts(name).join() === name)).toBe(true);
    for (let from = 0; from < MANY; from += BATCH)
      await other.adapter.unsubscribe(names.slice(from, from + BATCH));
    await publisher.adapter.publish(names[0]!, Buffer.from('late'));
    await settle(publisher, other);
    expect(other.link.texts(names[0]!)).toEqual([names[0]]);
  });

  test(`subscribing twice to a channel delivers once, and unsubscribing once ends it: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c', 'd'])];
    await other.adapter.subscribe(['c']);
    await Promise.all([other.adapter.subscribe(['c', 'e']), other.adapter.subscribe(['c', 'f'])]);
    for (const channel of ['c', 'd', 'e', 'f']) await publisher.adapter.publish(channel, Buffer.from('1'));
    await settle(publisher, other);
    expect(other.link.total).toBe(4);
    await other.adapter.unsubscribe(['c', 'never subscribed to']);
    await other.adapter.unsubscribe(['c']);
    for (const channel of ['c', 'd']) await publisher.adapter.publish(channel, Buffer.from('2'));
    await settle(publisher, other);
    expect([other.link.texts('c'), other.link.texts('d')]).toEqual([['1'], ['1', '2']]);
  });

  test(`the last of several overlapping subscribe and unsubscribe calls decides: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['left', 'back'])];
    const { adapter } = other;
    await Promise.all([
      ...[adapter.unsubscribe(['back']), adapter.subscribe(['back'])],
      ...[adapter.subscribe(['left']), adapter.unsubscribe(['left'])],
    ]);
    for (const channel of ['left', 'back']) await publisher.adapter.publish(channel, Buffer.from('1'));
    await settle(publisher, other);
    expect([other.link.texts('left'), other.link.texts('back')]).toEqual([[], ['1']]);
  });
}

function describeLife(title: string, harness: AdapterHarness, start: Start, settle: Settle): void {
  test(`resubscribe calls up again, after which messages arrive: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    const { ups } = other.link;
    other.adapter.resubscribe();
    await other.link.until(() => other.link.ups > ups && other.link.isUp);
    await other.adapter.subscribe(['c']);
    await publisher.adapter.publish('c', Buffer.from('1'));
    await settle(publisher, other);
    expect(other.link.texts('c')).toEqual(['1']);
  });

  test(`repeated resubscribe calls at any time end with the link up: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    for (let time = 0; time < 5; time++) {
      other.adapter.resubscribe();
      other.adapter.resubscribe();
      await new Promise((resolve) => setTimeout(resolve, time));
    }
    await settleUp(other);
    await publisher.adapter.publish('c', Buffer.from('1'));
    await settle(publisher, other);
    expect(other.link.texts('c')).toEqual(['1']);
  });

  test(`an adapter that is started twice throws: ${title}`, async () => {
    const { adapter } = await start();
    expect(() => adapter.start(new RecordedLink())).toThrow(Error);
  });

  test(`close leaves the connection of the user unchanged, and can be repeated: ${title}`, async () => {
    const node = await harness.node();
    onTestFinished(() => node.end());
    const before = node.listeners();
    const link = new RecordedLink();
    node.adapter.start(link);
    await link.untilUp();
    await node.adapter.subscribe(['c']);
    await node.adapter.close();
    expect(node.listeners()).toBe(before);
    expect(await node.isConnected()).toBe(true);
    await node.adapter.close();
  });

  test(`close before the first up leaves nothing behind: ${title}`, async () => {
    const node = await harness.node();
    onTestFinished(() => node.end());
    const before = node.listeners();
    const link = new RecordedLink();
    node.adapter.start(link);
    await node.adapter.close();
    expect(node.listeners()).toBe(before);
    expect(await node.isConnected()).toBe(true);
    expect(link.ups).toBe(0);
  });

  test(`after close every call rejects, and the link is not called: ${title}`, async () => {
    const [publisher, other, third] = [await start(), await start(['c']), await start(['c'])];
    await other.adapter.close();
    const calls = [other.link.ups, other.link.downs.length];
    await expect(other.adapter.publish('c', Buffer.from(''))).rejects.toThrow(Error);
    await expect(other.adapter.subscribe(['c'])).rejects.toThrow(Error);
    await expect(other.adapter.unsubscribe(['c'])).rejects.toThrow(Error);
    other.adapter.resubscribe();
    await publisher.adapter.publish('c', Buffer.from(''));
    await settle(publisher, third);
    expect(other.link.total).toBe(0);
    expect([other.link.ups, other.link.downs.length]).toEqual(calls);
  });

  async function settleUp({ adapter, link }: Started): Promise<void> {
    for (;;) {
      await link.untilUp();
      try {
        await adapter.subscribe(['c']);
        return;
      } catch {
        // The link was lost meanwhile: the cluster layer would try again too.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }
}

function describeAbsence(
  title: string,
  broker: NonNullable<AdapterHarness['broker']>,
  start: Start,
  settle: Settle,
): void {
  test(`every call rejects while the broker is away, and works again when it is back: ${title}`, async () => {
    const [publisher, other] = [await start(), await start(['c'])];
    await broker.kill();
    try {
      await Promise.all([publisher.link.untilDown(), other.link.untilDown()]);
      await expect(publisher.adapter.publish('c', Buffer.from('lost'))).rejects.toThrow(Error);
      await expect(other.adapter.subscribe(['d'])).rejects.toThrow(Error);
      await expect(other.adapter.unsubscribe(['c'])).rejects.toThrow(Error);
    } finally {
      await broker.start();
    }
    await Promise.all([publisher.link.untilUp(), other.link.untilUp()]);
    await other.adapter.subscribe(['c', 'd']);
    for (const channel of ['c', 'd']) await publisher.adapter.publish(channel, Buffer.from('1'));
    await settle(publisher, other);
    expect([other.link.texts('c'), other.link.texts('d')]).toEqual([['1'], ['1']]);
    expect(other.link.downs.every((error) => error === undefined || error instanceof Error)).toBe(true);
  });

  test(`close while the broker is away resolves: ${title}`, async () => {
    const { adapter, link } = await start(['c']);
    await broker.kill();
    try {
      await link.untilDown();
      await adapter.close();
    } finally {
      await broker.start();
    }
  });

  test(`commands that are running when the broker goes away settle: ${title}`, async () => {
    const { adapter, link } = await start(['c']);
    const commands = [];
    for (let index = 0; index < 100; index++) {
      commands.push(adapter.publish('c', Buffer.alloc(10_000)), adapter.subscribe([`channel ${index}`]));
    }
    const settled = Promise.allSettled(commands);
    await broker.kill();
    try {
      await link.untilDown();
      await settled;
    } finally {
      await broker.start();
    }
  });
}
