import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type BroadcastResult } from '../../src/index.js';
import { anyAudience, ROOMS } from './any-audience.js';
import { digest, tcpOf } from './engine.js';
import type { Loopback } from './loopback.js';
import { Random } from './random.js';
import { connectTapped, expectAlike, type TappedClient } from './tapped-client.js';

export interface HistoryModelOptions {
  readonly seed: number;
  readonly loopback: Loopback;
  readonly steps: number;
  readonly historyBytes: number;
  /** Messages for slow readers are dropped above this. Without it there are no slow readers. */
  readonly maxBufferedBytes?: number;
  readonly hasBlobs?: boolean;
  /** Clients at a time. */
  readonly clients?: number;
}

const HISTORIES = [512, 700, 2_048, 8_192, 20_000, 32_768];

/** A history of some size; with every third seed, slow readers. */
export function modelOptions(seed: number): Omit<HistoryModelOptions, 'loopback' | 'steps'> {
  const isLossy = seed % 3 === 2;
  const historyBytes = HISTORIES[seed % HISTORIES.length]!;
  return { seed, historyBytes, ...(isLossy && { maxBufferedBytes: 40_000 }) };
}

/** Messages whose order is promised: those of one connection, or of the owner of the socket. */
interface Stream {
  readonly connection: Connection | undefined;
  readonly rooms: Set<string>;
  readonly expected: string[];
  pool: ConnectionsPool | undefined;
  /** Whether everything in it has to arrive although the socket closes. */
  isComplete: boolean;
  /** Its closing has begun: it is no longer a recipient of broadcasts. */
  isEnding: boolean;
}

/** One client, and what it has to receive. */
interface Actor {
  readonly name: string;
  readonly client: TappedClient;
  readonly socket: WebSocket;
  readonly raw: Stream;
  readonly streams: Stream[];
  isClosing: boolean;
  isStalled: boolean;
  /** Parts of a raw message that are still to be sent. */
  readonly fragments: (string | Buffer)[];
  /** How often each message has arrived; known at the end. */
  readonly counts: Map<string, number>;
  /** The owner has sent in fragments: messages that the library was to send meanwhile have failed. */
  isFragmented: boolean;
}

interface SomeMessage {
  readonly message: Message;
  /** The name of the message, as its receiver reports it. */
  readonly arrives: string;
  readonly isUnique: boolean;
}

interface Broadcast {
  readonly arrives: string;
  /** No other message is equal to it. */
  readonly isUnique: boolean;
  readonly recipients: readonly Actor[];
  readonly result: BroadcastResult;
}

type Message = string | Buffer | Blob;

/** Replaces a message that `send` reported as not sent. */
const NEVER = '(never)';
/** From this size on, a message has room for its own number. */
const MIN_UNIQUE_BYTES = 12;

const NAMESPACES = ['one', 'two', '__proto__'];
/** Sizes by how often they come. */
const SIZES: [weight: number, from: number, to: number][] = [
  [3, 0, 0],
  [6, 1, 15],
  [40, 16, 300],
  [25, 300, 2_000],
  [12, 2_000, 8_192],
  [4, 8_193, 20_000],
  [1.5, 30_000, 70_000],
  [0.4, 70_000, 200 * 1024],
];

function streamOf(connection: Connection | undefined): Stream {
  const rooms = new Set<string>();
  const stream: Stream = {
    connection,
    rooms,
    expected: [],
    pool: undefined,
    isComplete: false,
    isEnding: false,
  };
  connection?.on('close', () => (stream.pool = undefined));
  return stream;
}

/** Makes random calls on pools with a shared history, and knows what every client must receive. */
export class HistoryModel {
  readonly pool: ConnectionsPool;
  /** Connections move between this one and the other. */
  readonly plainPool = new ConnectionsPool();
  readonly #options: HistoryModelOptions;
  readonly #random: Random;
  readonly #actors: Actor[] = [];
  readonly #broadcasts: Promise<Broadcast>[] = [];
  readonly #sends: Promise<void>[] = [];
  readonly #trace: string[] = [];
  readonly #noise: Buffer;
  readonly #letters: string;
  #serial = 0;

  constructor(options: HistoryModelOptions) {
    const { seed, historyBytes, maxBufferedBytes } = options;
    this.#options = options;
    this.#random = new Random(seed);
    this.pool = new ConnectionsPool({
      compression: { history: { bytes: historyBytes } },
      ...(maxBufferedBytes !== undefined && { maxBufferedBytes, onSlow: 'drop' }),
    });
    this.#noise = this.#random.bytes(220_000, false);
    this.#letters = this.#makeLetters(220_000);
  }

  /** Text in which some records are repeated, at every distance. */
  #makeLetters(length: number): string {
    const records = Array.from({ length: 40 }, (_, id) => {
      const name = this.#random.bytes(1 + this.#random.below(60), true).toString();
      return `{"id":${id},"name":"${name}","at":`;
    });
    let text = '';
    while (text.length < length) text += `${this.#random.pick(records)}${this.#random.below(1e6)}},`;
    return text;
  }

  async run(): Promise<void> {
    for (let step = 0; step < this.#options.steps; step++) {
      if (this.#open.length < (this.#options.clients ?? 9)) await this.#connect();
      this.#act();
      const inside = this.#open.find(({ fragments }) => fragments.length > 0);
      if (inside && this.#random.chance(0.3)) this.#sendRaw(inside);
      // Some operations share a turn with the next ones.
      if (this.#random.chance(0.1)) await Promise.resolve();
      if (this.#random.chance(0.4)) await nextTurn();
    }
    await this.#verify();
  }

  get #open(): Actor[] {
    return this.#actors.filter(({ isClosing }) => !isClosing);
  }

  async #connect(): Promise<void> {
    const bits = 8 + this.#random.below(8);
    const offer = this.#random.chance(0.3) ? {} : { serverMaxWindowBits: bits };
    const isStateless = this.#random.chance(0.1);
    const perMessageDeflate = !this.#random.chance(0.05) && {
      ...offer,
      ...(isStateless && { serverNoContextTakeover: true }),
    };
    const pair = await connectTapped(this.#options.loopback, { perMessageDeflate });
    const name = String(this.#actors.length);
    this.#note(`connect ${name}: ${pair.client.socket.extensions}`);
    const streams = Array.from({ length: this.#random.chance(0.3) ? 2 : 1 }, (_, index) =>
      streamOf(new Connection(`${name}.${index}`, this.#random.pick(NAMESPACES), pair.socket)),
    );
    const raw = streamOf(undefined);
    const state = {
      isClosing: false,
      isStalled: false,
      isFragmented: false,
      fragments: [],
      counts: new Map<string, number>(),
    };
    const actor: Actor = { name, ...pair, streams, raw, ...state };
    this.#actors.push(actor);
    for (const stream of streams) if (this.#random.chance(0.8)) this.#move(actor, stream);
  }

  #act(): void {
    const isSlow = this.#options.maxBufferedBytes !== undefined;
    const actions: [weight: number, action: () => void][] = [
      [60, () => this.#broadcast()],
      [12, () => this.#withAny((actor, stream) => this.#send(actor, stream))],
      [7, () => this.#withAny((actor) => this.#sendRaw(actor))],
      [3, () => this.#withAny((actor, stream) => this.#move(actor, stream))],
      [8, () => this.#withAny((_, stream) => this.#changeRooms(stream))],
      [2, () => this.#withAny((actor) => this.#control(actor))],
      [0.7, () => this.#withAny((actor, stream) => this.#close(actor, stream))],
      [0.3, () => this.#withAny((actor) => this.#cutOff(actor))],
      [0.1, () => this.#closeNamespace()],
      [2, () => this.#withAny(({ client }) => client.socket.pause())],
      [3, () => this.#withAny(({ client }) => client.socket.resume())],
      [isSlow ? 5 : 0, () => this.#withAny((actor) => this.#stall(actor))],
      [3, () => this.#flush()],
    ];
    const [action] = this.#random.weighted(actions);
    action();
  }

  #withAny(action: (actor: Actor, stream: Stream) => void): void {
    const open = this.#open;
    if (open.length === 0) return;
    const actor = this.#random.pick(open);
    action(actor, this.#random.pick(actor.streams));
  }

  #note(line: string): void {
    this.#trace.push(line);
  }

  #flush(): void {
    this.#note('flush');
    this.pool.flush();
  }

  #size(): number {
    const [from, to] = this.#random.weighted(SIZES);
    return from + this.#random.below(to - from + 1);
  }

  /** A message to send, and what arrives of it. All messages above some length are different. */
  #message(withBlobs: boolean): SomeMessage {
    let size = this.#size();
    // A dropped message can be told from the others only if every message is different.
    if (this.#options.maxBufferedBytes !== undefined) size = Math.max(size, MIN_UNIQUE_BYTES);
    const isUnique = size >= MIN_UNIQUE_BYTES;
    const start = this.#random.below(this.#letters.length - size);
    let text = this.#letters.slice(start, start + size);
    if (isUnique) text = `#${this.#serial++} ${text}`.slice(0, size);
    if (this.#random.chance(0.65)) return { message: text, arrives: digest(text), isUnique };
    let bytes = Buffer.from(text);
    if (this.#random.chance(0.3) && isUnique) bytes = this.#noisy(bytes);
    const arrives = digest(bytes);
    if (withBlobs && this.#options.hasBlobs !== false && this.#random.chance(0.1))
      return { message: new Blob([Uint8Array.from(bytes)]), arrives, isUnique };
    return { message: bytes, arrives, isUnique };
  }

  #noisy(bytes: Buffer): Buffer<ArrayBuffer> {
    const start = this.#random.below(this.#noise.length - bytes.length);
    return Buffer.concat([
      bytes.subarray(0, MIN_UNIQUE_BYTES),
      this.#noise.subarray(start, start + bytes.length - MIN_UNIQUE_BYTES),
    ]);
  }

  #broadcast(): void {
    const namespace = this.#random.pick(NAMESPACES);
    const pool = this.#random.chance(0.93) ? this.pool : this.plainPool;
    const ids = this.#actors.flatMap(({ streams }) => streams.map(({ connection }) => connection!.id));
    const audience = anyAudience(this.#random, ids);
    const recipients: Actor[] = [];
    const { message, arrives, isUnique } = this.#message(true);
    for (const actor of this.#actors) {
      for (const { connection, rooms, pool: ownPool, expected, isEnding } of actor.streams) {
        // A closing member is no longer a recipient.
        if (isEnding || ownPool !== pool || connection!.namespace !== namespace) continue;
        if (!audience.has({ id: connection!.id, rooms })) continue;
        recipients.push(actor);
        if (!actor.isClosing) expected.push(arrives);
      }
    }
    this.#note(
      `broadcast to ${recipients.map(({ name }) => name).join()} of ${namespace}: ${arrives.slice(0, 60)}`,
    );
    const pending = pool.broadcastMessage(namespace, message, audience.given);
    const outcome = pending.then((result) => ({ arrives, isUnique, recipients, result }));
    this.#broadcasts.push(outcome);
    // Checked at the end.
    outcome.catch(() => undefined);
  }

  #changeRooms({ connection, rooms, isEnding }: Stream): void {
    if (isEnding) return;
    const [joined, left] = [this.#random.pick(ROOMS), this.#random.pick(ROOMS)];
    this.#note(`${connection!.id} joins ${joined} and leaves ${left}`);
    if (connection!.join(joined)) rooms.add(joined);
    connection!.leave(left);
    rooms.delete(left);
  }

  #send(actor: Actor, { connection, expected, pool }: Stream): void {
    const { name } = actor;
    // Slow ones that are in no pool are closed.
    if (pool === undefined && this.#options.maxBufferedBytes !== undefined) return;
    const { message, arrives } = this.#message(true);
    this.#note(`send to ${name}: ${arrives.slice(0, 60)}`);
    const at = expected.push(arrives) - 1;
    const check = connection!.send(message).then((isSent) => {
      if (isSent) return;
      const isLossy = this.#options.maxBufferedBytes !== undefined;
      expect(isLossy || actor.isClosing || actor.isFragmented || connection!.closed).toBe(true);
      // Known not to arrive.
      expected[at] = NEVER;
    });
    check.catch(() => undefined);
    this.#sends.push(check);
  }

  #sendRaw(actor: Actor): void {
    const { socket, fragments, raw, name } = actor;
    const next = fragments.shift();
    if (next !== undefined) {
      this.#note(`fragment to ${name}`);
      socket.send(next, { fin: fragments.length === 0 });
      return;
    }
    const { message, arrives } = this.#message(false) as SomeMessage & { message: string | Buffer };
    raw.expected.push(arrives);
    const compress = this.#random.chance(0.8);
    const isWhole = this.#options.maxBufferedBytes !== undefined || this.#random.chance(0.7);
    // No other message may start inside a fragmented one: messages that the library is to send meanwhile fail.
    if (!isWhole) actor.isFragmented = true;
    const count = !isWhole ? 2 + this.#random.below(2) : 1;
    this.#note(`raw to ${name} in ${count}, ${compress ? 'compressed' : 'plain'}: ${arrives.slice(0, 60)}`);
    let rest: string | Buffer = message;
    for (let left = count; left > 1; left--) {
      const at = this.#random.below(rest.length + 1);
      fragments.push(rest.slice(0, at));
      rest = rest.slice(at);
    }
    fragments.push(rest);
    const binary = typeof message !== 'string';
    socket.send(fragments.shift()!, { binary, compress, fin: fragments.length === 0 });
  }

  #endFragments(actor: Actor): void {
    while (actor.fragments.length > 0) this.#sendRaw(actor);
  }

  #move({ name }: Actor, stream: Stream): void {
    const { connection, pool } = stream;
    if (pool !== undefined) {
      void pool.removeConnection(connection!);
      stream.pool = undefined;
      stream.rooms.clear();
    }
    if (pool === undefined || this.#random.chance(0.2)) {
      stream.pool = this.#random.chance(0.85) ? this.pool : this.plainPool;
      void stream.pool.newConnection(connection!);
    }
    const to = stream.pool === this.pool ? 'the pool' : stream.pool ? 'the plain pool' : 'no pool';
    this.#note(`${name} to ${to}, ${connection!.namespace}`);
  }

  #control({ socket, name }: Actor): void {
    this.#note(`ping ${name}`);
    if (this.#random.chance(0.5)) socket.ping('ping');
    else socket.pong('pong');
  }

  #stall(actor: Actor): void {
    this.#note(`${actor.isStalled ? 'release' : 'stall'} ${actor.name}`);
    if (actor.isStalled) tcpOf(actor.socket).uncork();
    else tcpOf(actor.socket).cork();
    actor.isStalled = !actor.isStalled;
  }

  #beginClosing(actor: Actor, stream?: Stream): void {
    this.#endFragments(actor);
    if (actor.isStalled) this.#stall(actor);
    // A client that reads nothing would not see the end.
    actor.client.socket.resume();
    actor.isClosing = true;
    if (stream) stream.isComplete = stream.isEnding = true;
  }

  #close(actor: Actor, stream: Stream): void {
    this.#note(`close ${actor.name}`);
    this.#beginClosing(actor, stream);
    void stream.connection!.close(4000);
  }

  #cutOff(actor: Actor): void {
    this.#note(`cut off ${actor.name}`);
    this.#beginClosing(actor);
    if (this.#random.chance(0.5)) actor.socket.terminate();
    else actor.client.socket.terminate();
  }

  #closeNamespace(): void {
    const namespace = this.#random.pick(NAMESPACES);
    this.#note(`close all of ${namespace}`);
    for (const actor of this.#open) {
      const closing = actor.streams.filter(
        ({ connection, pool }) => pool === this.pool && connection!.namespace === namespace,
      );
      // The first of them closes the socket that they share.
      if (closing[0]) this.#beginClosing(actor, closing[0]);
      for (const stream of closing) stream.isEnding = true;
    }
    void this.pool.closeAll(namespace);
  }

  async #verify(): Promise<void> {
    for (const actor of this.#actors) {
      if (actor.isClosing) continue;
      this.#endFragments(actor);
      if (actor.isStalled) this.#stall(actor);
      actor.client.socket.resume();
    }
    const broadcasts = await Promise.all(this.#broadcasts);
    await Promise.all(this.#sends);
    await Promise.all(this.#actors.map((actor) => this.#verifyActor(actor)));
    for (const broadcast of broadcasts) this.#verifyCounts(broadcast);
    expect(this.pool.stats().errors).toBe(0);
  }

  async #verifyActor(actor: Actor): Promise<void> {
    const { name, client, socket, isClosing, isFragmented, streams, raw, counts } = actor;
    const label = `client ${name}, ${this.#story()}`;
    if (isClosing) await client.closed;
    else {
      // Messages that `ws` is still compressing leave before this one.
      const marked = new Promise<void>((resolve) => {
        client.socket.on('ping', (data) => {
          if (data.toString() === 'end') resolve();
        });
      });
      const senders = [socket, ...streams.map(({ connection }) => connection!)];
      const isIdle = (): boolean => senders.every(({ bufferedAmount }) => bufferedAmount === 0);
      await vi.waitUntil(isIdle, { timeout: 20_000, interval: 2 });
      socket.ping('end');
      await marked;
      expect(client.socket.readyState, label).toBe(client.socket.OPEN);
    }
    const received = client.inbox.map(digest);
    for (const message of received) counts.set(message, (counts.get(message) ?? 0) + 1);
    expectAlike(client, label);
    const isLossy = this.#options.maxBufferedBytes !== undefined || isFragmented;
    const failure = mergeFailure(received, [...streams, raw], { isLossy, isClosing });
    if (failure !== undefined) throw new Error(`${failure}: ${label}`);
  }

  /** As many clients have received it as its result says. */
  #verifyCounts({ arrives, isUnique, recipients, result }: Broadcast): void {
    const { sent, dropped, failed } = result;
    expect(result.recipients).toBe(recipients.length);
    expect(sent + dropped + failed).toBe(result.recipients);
    if (!isUnique || recipients.some(({ isClosing }) => isClosing)) return;
    const copies = [...new Set(recipients)].map(({ counts }) => counts.get(arrives) ?? 0);
    const received = copies.reduce((sum, count) => sum + count, 0);
    expect(received, `${arrives}, ${this.#story()}`).toBe(sent);
    if (!recipients.some(({ isFragmented }) => isFragmented)) expect(failed, this.#story()).toBe(0);
  }

  #story(): string {
    const { seed, historyBytes, steps } = this.#options;
    return `seed ${seed}, ${steps} steps, history of ${historyBytes}:\n${this.#trace.slice(-300).join('\n')}`;
  }
}

/**
 * Whether what was received is a merge of the streams, each in its order. All ways to merge are followed at once, as
 * equal messages may come from several streams.
 */
function mergeFailure(
  received: readonly string[],
  streams: readonly Stream[],
  { isLossy, isClosing }: { readonly isLossy: boolean; readonly isClosing: boolean },
): string | undefined {
  const expected = streams.map((stream) => stream.expected);
  let states = new Map([['start', expected.map(() => 0)]]);
  for (const [index, message] of received.entries()) {
    const next = new Map<string, number[]>();
    for (const state of states.values()) {
      for (const [which, at] of state.entries()) {
        const found = findNext(expected[which]!, at, message, isLossy);
        if (found === undefined) continue;
        const reached = state.with(which, found + 1);
        next.set(reached.join(), reached);
      }
    }
    if (next.size === 0) {
      const waiting = [...states.values()][0]!.map((at, which) => String(expected[which]![at]).slice(0, 60));
      return `Received ${message} as message ${index}, expected one of ${waiting.join(' | ')}`;
    }
    states = next;
  }
  const isDone = [...states.values()].some((state) =>
    state.every(
      (at, which) =>
        isLossy ||
        (isClosing && !streams[which]!.isComplete) ||
        expected[which]!.slice(at).every((rest) => rest === NEVER),
    ),
  );
  return isDone ? undefined : 'Messages are missing at the end';
}

function findNext(
  expected: readonly string[],
  from: number,
  message: string,
  isLossy: boolean,
): number | undefined {
  for (let at = from; at < expected.length; at++) {
    if (expected[at] === message) return at;
    if (!isLossy && expected[at] !== NEVER) return undefined;
  }
  return undefined;
}
