import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type BroadcastResult } from '../../src/index.js';
import { anyAudience, ROOMS, someRooms } from './any-audience.js';
import { digest } from './engine.js';
import type { Loopback } from './loopback.js';
import { Random } from './random.js';
import { runs } from './runs.js';
import { sliceFlushes } from './slice-flushes.js';
import { connectTapped, expectAlike, type TappedClient } from './tapped-client.js';

type ClientOptions = NonNullable<Parameters<typeof connectTapped>[1]>;

export interface ModelOptions {
  readonly seed: number;
  readonly loopback: Loopback;
  /** Options of the next client. */
  readonly clientOptions?: (random: Random) => ClientOptions;
  /** The owner of the sockets also sends on them, sometimes in fragments. */
  readonly isRaw?: boolean;
  readonly hasBlobs?: boolean;
  /** @default 60, and 150 in CI */
  readonly operations?: number;
  /** How many messages may be larger than 1 MiB. */
  readonly huge?: number;
  /** That many clients in one namespace, so that their walks stop in the middle: see `sliceFlushes`. */
  readonly crowd?: number;
}

const OPERATIONS = runs({ quick: 60, ci: 150 });
/** A burst of a quarter of `maxBufferedBytes` does not wait for the end of its turn. */
const CROWDED = { maxFlushMs: 1, maxBufferedBytes: 1024 * 1024 };
/** A client that is paused when it is closed may stay paused until the end, which takes long on a loaded machine. */
const CLOSE_TIMEOUT_MS = 120_000;
/** The largest message if there are many clients, in bytes: it keeps them busy enough. */
const CROWDED_HUGE = 300_000;

/** What the model does to a pool. */
type Action =
  | 'broadcast'
  | 'send'
  | 'join'
  | 'leave'
  | 'join room'
  | 'leave room'
  | 'close'
  | 'close all'
  | 'cut off'
  | 'ping'
  | 'pause'
  | 'resume'
  | 'flush'
  | 'send raw';

/** Operations that must happen while a flush has stopped, in this order. */
export const INSIDE: readonly Action[] = [
  'broadcast',
  'send',
  'leave',
  'join',
  'leave room',
  'join room',
  'broadcast',
  'close',
  'cut off',
  'flush',
  'close all',
];

/** One client, and what it has to receive. */
interface Actor {
  readonly id: string;
  readonly client: TappedClient;
  readonly socket: WebSocket;
  readonly connection: Connection;
  readonly rooms: Set<string>;
  readonly expected: string[];
  /** Messages that the owner of the socket has sent. Their order relative to the library's messages is not promised. */
  readonly expectedRaw: string[];
  closeCode: number | undefined;
  /** The client was cut off or left: it gets some beginning of what is expected. */
  isCutOff: boolean;
  /** The owner has sent in fragments: messages that the library was to send meanwhile have failed. */
  isFragmented: boolean;
  /** The rest of a raw message that is sent in fragments. */
  openFragment: string | undefined;
}

/** Texts of the owner start with this prefix. */
const RAW = 'raw ';
const NAMESPACES = ['one', 'two', '__proto__'];
const SMALL = [0, 1, 10, 10, 60, 60, 125, 126, 1_000, 1_100];
const LARGE = [8_192, 9_000, 30_000, 65_535, 65_536, 71_680];
/** Large ones are rare: each kind occurs often enough, and they take most of the time of a run. */
const SIZES = [...SMALL, ...SMALL, ...SMALL, ...LARGE];
const HUGE = 1_200_000;
const TEXTS = ['plain', 'ünï', '𝄞 astral', 'lone \ud800 surrogate', '"quoted"\n'];

/** The text that messages are cut from, the same for all seeds: making it takes longer than most of them. */
const random = new Random(0);
const PAYLOAD: Record<'noise' | 'letters', Buffer> = {
  noise: random.bytes(HUGE + 100_000, false),
  letters: random.bytes(HUGE + 100_000, true),
};

/** Makes random calls on a pool with real sockets, and knows what every client must receive. */
export class BroadcastModel {
  readonly pool: ConnectionsPool;
  /** The operations that were done while a flush had stopped in the middle of its members. */
  readonly doneInside = new Set<Action>();
  readonly #flushes: ReturnType<typeof sliceFlushes> | undefined;
  readonly #options: ModelOptions;
  readonly #random: Random;
  readonly #actors: Actor[] = [];
  /** Open and in no pool. */
  readonly #outside: Actor[] = [];
  readonly #inside = new Map<string, Set<Actor>>(NAMESPACES.map((name) => [name, new Set()]));
  readonly #checks: Promise<void>[] = [];
  readonly #trace: string[] = [];
  #hugeLeft: number;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.pool = new ConnectionsPool({
      closeTimeout: CLOSE_TIMEOUT_MS,
      ...(options.crowd === undefined ? {} : CROWDED),
    });
    this.#flushes = options.crowd === undefined ? undefined : sliceFlushes();
    this.#hugeLeft = options.huge ?? 1;
  }

  /** How often a flush has stopped in the middle of its members. */
  get slices(): number {
    return this.#flushes?.slices() ?? 0;
  }

  async run(): Promise<void> {
    const { crowd = 8, operations = OPERATIONS } = this.#options;
    for (let i = 0; i < crowd; i++) this.#join(await this.#connect());
    for (let i = 0; i < operations; i++) {
      if (this.#outside.length < 2 && this.#actors.length < crowd + 16) await this.#connect();
      this.#act();
      // Most operations share a turn with the next ones.
      if (this.#random.chance(0.15)) await Promise.resolve();
      if (this.#random.chance(0.2)) await nextTurn();
    }
    if (this.#flushes !== undefined) await this.#actInside();
    await this.#verify();
  }

  /**
   * Does every operation once while a flush has stopped in the middle of the crowd, and closes the crowd at the end.
   */
  async #actInside(): Promise<void> {
    await this.#connect();
    for (const name of INSIDE) {
      for (let turn = 0; turn < 50 && !this.#flushes!.isInside(); turn++) {
        this.#broadcast();
        await nextTurn();
      }
      this.#do(name, this.#actions[name]);
    }
  }

  async #connect(): Promise<Actor> {
    const { loopback, clientOptions } = this.#options;
    const pair = await connectTapped(loopback, clientOptions?.(this.#random));
    const id = String(this.#actors.length);
    const connection = new Connection(id, this.#namespace(), pair.socket);
    const actor: Actor = {
      ...pair,
      id,
      connection,
      rooms: new Set(someRooms(this.#random)),
      expected: [],
      expectedRaw: [],
      closeCode: undefined,
      isCutOff: false,
      isFragmented: false,
      openFragment: undefined,
    };
    connection.join(actor.rooms);
    connection.on('close', () => this.#membersOf(actor).delete(actor));
    this.#actors.push(actor);
    this.#outside.push(actor);
    return actor;
  }

  #namespace(): string {
    return this.#options.crowd !== undefined && this.#random.chance(0.9)
      ? NAMESPACES[0]!
      : this.#random.pick(NAMESPACES);
  }

  #membersOf({ connection }: Actor): Set<Actor> {
    return this.#inside.get(connection.namespace)!;
  }

  #act(): void {
    const weights: [weight: number, name: Action][] = [
      [30, 'broadcast'],
      [20, 'send'],
      [3, 'join'],
      [3, 'leave'],
      [8, 'join room'],
      [8, 'leave room'],
      [2, 'close'],
      // The crowd stays until the end.
      [this.#flushes === undefined ? 0.5 : 0, 'close all'],
      [0.5, 'cut off'],
      [3, 'ping'],
      [3, 'pause'],
      [3, 'resume'],
      [3, 'flush'],
      [this.#options.isRaw ? 25 : 0, 'send raw'],
    ];
    const [name] = this.#random.weighted(weights);
    this.#do(name, this.#actions[name]);
  }

  readonly #actions: Record<Action, () => void> = {
    broadcast: () => this.#broadcast(),
    send: () => this.#withOpen((actor) => this.#send(actor)),
    join: () => this.#joinAny(),
    leave: () => this.#leave(),
    'join room': () => this.#withOpen((actor) => this.#joinRoom(actor)),
    'leave room': () => this.#withOpen((actor) => this.#leaveRoom(actor)),
    close: () => this.#withOpen((actor) => this.#close(actor)),
    'close all': () => this.#closeAll(),
    'cut off': () => this.#withOpen((actor) => this.#cutOff(actor)),
    ping: () => this.#withOpen(({ socket }) => socket.ping()),
    pause: () => this.#withOpen(({ client }) => client.socket.pause()),
    resume: () => this.#withOpen(({ client }) => client.socket.resume()),
    flush: () => this.#flush(),
    'send raw': () => this.#withOpen((actor) => this.#sendRaw(actor)),
  };

  #do(name: Action, action: () => void): void {
    if (this.#flushes?.isInside()) this.doneInside.add(name);
    action();
  }

  #note(line: string): void {
    this.#trace.push(line);
  }

  #flush(): void {
    this.#note('flush');
    this.pool.flush();
  }

  #withOpen(action: (actor: Actor) => void): void {
    const open = this.#actors.filter((actor) => this.#isOpen(actor));
    if (open.length > 0) action(this.#random.pick(open));
  }

  #isOpen({ closeCode, isCutOff }: Actor): boolean {
    return closeCode === undefined && !isCutOff;
  }

  #bytes(): Buffer {
    const isHuge = this.#hugeLeft > 0 && this.#random.chance(0.01);
    if (isHuge) this.#hugeLeft--;
    const huge = this.#options.crowd === undefined ? HUGE : CROWDED_HUGE;
    const length = isHuge ? huge : this.#random.pick(SIZES);
    const source = PAYLOAD[this.#random.chance(0.7) ? 'letters' : 'noise'];
    const start = this.#random.below(source.length - length + 1);
    return source.subarray(start, start + length);
  }

  /** A message to send, and what arrives of it. */
  #message(): { readonly message: string | Uint8Array | Blob; readonly arrives: string } {
    const bytes = this.#bytes();
    if (this.#options.hasBlobs !== false && this.#random.chance(0.07))
      return { message: new Blob([Uint8Array.from(bytes)]), arrives: digest(bytes) };
    if (this.#random.chance(0.4)) return { message: bytes, arrives: digest(bytes) };
    const text = bytes.length === 0 ? '' : `${this.#random.pick(TEXTS)} ${bytes.toString('latin1')}`;
    return { message: text, arrives: digest(Buffer.from(text).toString()) };
  }

  #broadcast(): void {
    const namespace = this.#namespace();
    const members = [...this.#inside.get(namespace)!];
    const audience = anyAudience(
      this.#random,
      members.map(({ id }) => id),
    );
    const { given } = audience;
    // A closing member is not a recipient; one that was cut off is, until the server notices.
    const recipients = members.filter((actor) => audience.has(actor) && actor.closeCode === undefined);
    let result: Promise<BroadcastResult>;
    if (this.#random.chance(0.2)) {
      const value = { text: this.#random.pick(TEXTS), n: this.#random.next() };
      for (const { expected } of recipients) expected.push(digest(JSON.stringify(value)));
      result = this.pool.broadcastJsonMessage(namespace, value, given);
    } else {
      const { message, arrives } = this.#message();
      for (const { expected } of recipients) expected.push(arrives);
      this.#note(
        `broadcast to ${namespace}: ${arrives.slice(0, 40)} to ${recipients.map(({ id }) => id).join()}`,
      );
      result = this.pool.broadcastMessage(namespace, message, given);
    }
    this.#check(this.#checkResult(result, recipients));
  }

  #check(check: Promise<void>): void {
    // Checked at the end.
    check.catch(() => undefined);
    this.#checks.push(check);
  }

  async #checkResult(pending: Promise<BroadcastResult>, recipients: Actor[]): Promise<void> {
    const result = await pending;
    const { sent, dropped, failed } = result;
    expect(sent + dropped + failed, this.#story()).toBe(result.recipients);
    if (recipients.some(({ isCutOff }) => isCutOff)) return;
    expect([result.recipients, dropped], this.#story()).toEqual([recipients.length, 0]);
    if (!recipients.some(({ isFragmented }) => isFragmented)) expect(failed, this.#story()).toBe(0);
  }

  #send(actor: Actor): void {
    const { connection, expected, id } = actor;
    const { message, arrives } = this.#message();
    const isClosing = this.#random.chance(0.05);
    this.#note(`send to ${id}: ${arrives.slice(0, 40)} ${isClosing ? 'then close' : ''}`);
    expected.push(arrives);
    let sent: Promise<boolean>;
    if (isClosing) {
      this.#endFragment(actor);
      actor.closeCode = 4100;
      sent = connection.sendThenClose(message, 4100);
    } else {
      sent = connection.send(message);
    }
    this.#check(this.#checkSent(sent, actor));
  }

  async #checkSent(pending: Promise<boolean>, actor: Actor): Promise<void> {
    const sent = await pending;
    if (!actor.isCutOff && !actor.isFragmented) expect(sent, this.#story()).toBe(true);
  }

  #join(actor: Actor): void {
    this.#note(`join ${actor.id}`);
    this.#outside.splice(this.#outside.indexOf(actor), 1);
    if (!this.#isOpen(actor)) return;
    this.#membersOf(actor).add(actor);
    void this.pool.newConnection(actor.connection);
  }

  #joinAny(): void {
    if (this.#outside.length > 0) this.#join(this.#random.pick(this.#outside));
  }

  #joinRoom({ id, connection, rooms }: Actor): void {
    const room = this.#random.pick(ROOMS);
    this.#note(`${id} joins room ${room}`);
    rooms.add(room);
    expect(connection.join(room), this.#story()).toBe(true);
  }

  #leaveRoom({ id, connection, rooms }: Actor): void {
    const room = this.#random.pick(ROOMS);
    this.#note(`${id} leaves room ${room}`);
    rooms.delete(room);
    connection.leave(room);
  }

  #leave(): void {
    const open = [...this.#inside.values()].flatMap((members) =>
      [...members].filter((actor) => this.#isOpen(actor)),
    );
    if (open.length === 0) return;
    const actor = this.#random.pick(open);
    this.#note(`leave ${actor.id}`);
    this.#membersOf(actor).delete(actor);
    this.#outside.push(actor);
    actor.rooms.clear();
    void this.pool.removeConnection(actor.connection);
  }

  #close(actor: Actor): void {
    this.#note(`close ${actor.id}`);
    this.#endFragment(actor);
    actor.closeCode = 4000 + this.#random.below(10);
    void actor.connection.close(actor.closeCode);
  }

  #closeAll(): void {
    const namespace = this.#namespace();
    this.#note(`fatal error to ${namespace}`);
    for (const actor of this.#inside.get(namespace)!) {
      if (actor.closeCode !== undefined) continue;
      this.#endFragment(actor);
      actor.expected.push('"fatal"');
      actor.closeCode = 4200;
    }
    void this.pool.broadcastError(namespace, '"fatal"', 4200);
  }

  #cutOff(actor: Actor): void {
    const how = this.#random.pick(['client close', 'client terminate', 'terminate'] as const);
    this.#note(`${how} ${actor.id}`);
    actor.isCutOff = true;
    // A client that reads nothing would not see the answer to its close.
    actor.client.socket.resume();
    if (how === 'terminate') actor.connection.terminate();
    else if (how === 'client close') actor.client.socket.close(4300);
    else actor.client.socket.terminate();
  }

  #sendRaw(actor: Actor): void {
    if (actor.openFragment !== undefined) {
      this.#endFragment(actor);
      return;
    }
    const text = `${RAW}${this.#random.next()} ${this.#bytes().toString('latin1')}`;
    actor.expectedRaw.push(digest(text));
    if (this.#random.chance(0.5)) {
      this.#note(`raw to ${actor.id}`);
      actor.socket.send(text);
      return;
    }
    this.#note(`raw fragment to ${actor.id}`);
    const at = RAW.length + this.#random.below(text.length - RAW.length);
    actor.socket.send(text.slice(0, at), { fin: false });
    actor.openFragment = text.slice(at);
    actor.isFragmented = true;
  }

  #endFragment(actor: Actor): void {
    if (actor.openFragment === undefined) return;
    this.#note(`end of raw fragment to ${actor.id}`);
    actor.socket.send(actor.openFragment, { fin: true });
    actor.openFragment = undefined;
  }

  async #verify(): Promise<void> {
    for (const actor of this.#actors) {
      if (this.#isOpen(actor)) this.#endFragment(actor);
      actor.client.socket.resume();
    }
    await Promise.all(this.#checks);
    await Promise.all(this.#actors.map((actor) => this.#verifyActor(actor)));
  }

  async #verifyActor(actor: Actor): Promise<void> {
    const { client, expected, expectedRaw, closeCode, isCutOff, id } = actor;
    if (this.#isOpen(actor)) {
      const count = expected.length + expectedRaw.length;
      const isDone = (): boolean =>
        client.inbox.length >= count || client.socket.readyState !== client.socket.OPEN;
      if (!actor.isFragmented) await vi.waitUntil(isDone, { timeout: 5_000, interval: 5 }).catch(() => false);
      if (client.socket.readyState === client.socket.OPEN) await client.roundTrip();
    } else {
      const { code } = await client.closed;
      if (!isCutOff) expect(code, `client ${id}, ${this.#story()}`).toBe(closeCode);
    }
    const isRaw = (message: string | Buffer): boolean =>
      typeof message === 'string' && message.startsWith(RAW);
    const received = client.inbox.filter((message) => !isRaw(message)).map(digest);
    const receivedRaw = client.inbox.filter(isRaw).map(digest);
    const label = `client ${id}, ${this.#story()}`;
    expectAlike(client, label);
    if (actor.isFragmented) expect(subsequenceOf(expected, received), label).toEqual(received);
    else expect(received, label).toEqual(isCutOff ? expected.slice(0, received.length) : expected);
    if (!isCutOff) {
      expect(receivedRaw, label).toEqual(expectedRaw);
      expect(client.socket.readyState === client.socket.OPEN, label).toBe(closeCode === undefined);
    }
  }

  #story(): string {
    return `seed ${this.#options.seed}:\n${this.#trace.slice(-400).join('\n')}`;
  }
}

/** The messages of `received`, as far as they are in the order of `expected`. */
function subsequenceOf(expected: readonly string[], received: readonly string[]): string[] {
  const found: string[] = [];
  for (const message of expected) if (message === received[found.length]) found.push(message);
  return found;
}
