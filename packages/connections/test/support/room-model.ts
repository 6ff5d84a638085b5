import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import type { WebSocket } from 'ws';
import {
  Connection,
  ConnectionsPool,
  type BroadcastOptions,
  type BroadcastResult,
  type SlowDecision,
  type WebSocketMessage,
} from '../../src/index.js';
import { ROOMS } from './any-audience.js';
import { tcpOf } from './engine.js';
import type { Loopback } from './loopback.js';
import { Random } from './random.js';
import { runs } from './runs.js';
import { sliceFlushes } from './slice-flushes.js';
import { connectTapped, expectAlike, type TappedClient } from './tapped-client.js';

type ClientOptions = NonNullable<Parameters<typeof connectTapped>[1]>;
type AnyConnection = Connection<string, WebSocketMessage, object>;
type AnyPool = ConnectionsPool<WebSocketMessage, AnyConnection>;

export interface RoomModelOptions {
  readonly seed: number;
  readonly loopback: Loopback;
  readonly clientOptions?: (random: Random) => ClientOptions;
  /** The pools compress with a shared history. */
  readonly hasHistory?: boolean;
  /** Small: `'drop'` then loses messages, which have to be counted. */
  readonly maxBufferedBytes?: number;
  readonly conflateAboveBytes?: number;
  readonly crowd?: number;
  /** @default 80, and 200 in CI */
  readonly operations?: number;
  /** A function that answers anything decides about slow readers. */
  readonly hasPolicy?: boolean;
  /** The pool is drained at the end. */
  readonly isDrained?: boolean;
  readonly isSliced?: boolean;
  readonly isReentrant?: boolean;
  readonly kinds?: readonly Kind[];
}

export type Kind =
  'ws' | 'handlers' | 'async handlers' | 'wrapper' | 'override' | 'async override' | 'renamed';
const KINDS: readonly Kind[] = [
  'ws',
  'ws',
  'ws',
  'ws',
  'handlers',
  'async handlers',
  'wrapper',
  'override',
  'async override',
  'renamed',
];
const OPERATIONS = runs({ quick: 80, ci: 200 });
const NAMESPACES = ['one', '__proto__'];
const KEYS = ['', 'price', '__proto__', 'x'];

/** A message that one client has to receive. */
interface Copy {
  readonly serial: number;
  readonly key: string | undefined;
  /** Of a private message: whether it was handed over. */
  sent?: boolean;
}

/** One client, and what it has to receive. */
interface Actor {
  readonly name: string;
  readonly kind: Kind;
  readonly client: TappedClient;
  readonly socket: WebSocket;
  connection: AnyConnection;
  readonly rooms: Set<string>;
  pool: AnyPool | undefined;
  readonly expected: Copy[];
  /** The server closes it. */
  closeCode: number | undefined;
  /** The connection was lost, or closed by the client: it gets some beginning of what is expected. */
  isCutOff: boolean;
  /** What is written waits in the server's socket. */
  isStalled: boolean;
  /** A call that moves it runs: nothing is done to it. */
  isMoving: boolean;
}

interface Broadcast {
  readonly serial: number;
  readonly recipients: readonly Actor[];
  readonly result: BroadcastResult;
  readonly label: string;
}

/** A wrapper without the internals of `ws`: its listeners are called on the socket inside it. */
class Wrapper {
  readonly inner: WebSocket;

  constructor(inner: WebSocket) {
    this.inner = inner;
  }

  on(event: string, listener: (...args: never[]) => void): this {
    this.inner.on(event, listener as never);
    return this;
  }
  off(event: string, listener: (...args: never[]) => void): this {
    this.inner.off(event, listener as never);
    return this;
  }
  get bufferedAmount(): number {
    return this.inner.bufferedAmount;
  }
  get readyState(): number {
    return this.inner.readyState;
  }
  send(message: never, options: object = {}): void {
    this.inner.send(message, options);
  }
  close(code?: number, reason?: string): void {
    this.inner.close(code, reason);
  }
  terminate(): void {
    this.inner.terminate();
  }
}

/** Passes everything on, at once or later. */
class Overriding extends Connection<string, WebSocketMessage, object> {
  isAsync = false;
  override async send(message: WebSocketMessage, ...rest: object[]): Promise<boolean> {
    if (this.isAsync) await Promise.resolve();
    return super.send(message, ...rest);
  }
}

/** Overrides what has to do with rooms. */
class Renaming extends Connection<string, WebSocketMessage, object> {
  joins = 0;
  override join(rooms: string | Iterable<string>): boolean {
    this.joins++;
    return super.join(rooms);
  }
  override leave(rooms: string | Iterable<string>): void {
    this.joins--;
    super.leave(rooms);
  }
}

/** Weight, and sizes from and below, in bytes. */
const SIZES: [weight: number, from: number, to: number][] = [
  [40, 10, 100],
  [10, 120, 130],
  [10, 900, 1_200],
  [6, 3_000, 9_000],
  [2, 20_000, 70_000],
];

const LETTERS = new Random(1).bytes(200_000, true).toString('latin1');
const NOISE = new Random(2).bytes(200_000, false);

/** The number that each message begins with, so that every copy can be told from all others. */
function serialOf(message: string | Buffer): number {
  const head =
    typeof message === 'string' ? message.slice(0, 12) : message.subarray(0, 12).toString('latin1');
  return Number(/^#(\d+) /.exec(head)?.[1] ?? Number.NaN);
}

/** What it sends is not known to be sent when it is let go of. */
function answersLater({ kind }: { readonly kind: Kind }): boolean {
  return kind.startsWith('async') || kind === 'override';
}

/**
 * Makes random calls on two pools with real sockets of every kind, and knows what every client must receive.
 *
 * Does what `BroadcastModel` does not: messages with a `conflate` key for stalled readers, the policies for slow readers,
 * wrappers, handlers and overrides, replaced and released connections, moves between pools and namespaces, closes of
 * rooms, drains, and calls from within listeners and handlers.
 */
export class RoomModel {
  readonly #pool: AnyPool;
  readonly #otherPool: AnyPool;
  readonly #options: RoomModelOptions;
  readonly #random: Random;
  readonly #actors: Actor[] = [];
  readonly #broadcasts: Promise<Broadcast>[] = [];
  readonly #checks: Promise<void>[] = [];
  readonly #labels: string[] = [];
  readonly #trace: string[] = [];
  readonly #messages = new Map<number, string | Buffer>();
  /** How often a flush has stopped in the middle of its members. */
  readonly slices: () => number;
  readonly #errors: Error[] = [];
  #serial = 0;
  #names = 0;
  #depth = 0;
  /** How many calls may still be made from within listeners and handlers. */
  #budget = 0;

  constructor(options: RoomModelOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    const settings = {
      closeTimeout: 120_000,
      onDuplicate: 'replace' as const,
      conflateAboveBytes: options.conflateAboveBytes ?? 2_000,
      ...(options.hasHistory ? { compression: { history: true } } : {}),
      ...(options.isSliced ? { maxFlushMs: 1 } : {}),
    };
    this.#pool = new ConnectionsPool({
      ...settings,
      ...(options.maxBufferedBytes === undefined
        ? {}
        : {
            maxBufferedBytes: options.maxBufferedBytes,
            onSlow: options.hasPolicy ? (connection) => this.#decide(connection) : 'drop',
          }),
    });
    this.#otherPool = new ConnectionsPool(settings);
    this.slices = options.isSliced ? sliceFlushes().slices : () => 0;
    for (const pool of [this.#pool, this.#otherPool]) this.#listenTo(pool);
  }

  #listenTo(pool: AnyPool): void {
    pool.on('error', (error) => this.#errors.push(error));
    if (!this.#options.isReentrant) return;
    for (const event of [
      'join',
      'leave',
      'emptyRoom',
      'connection',
      'disconnection',
      'emptyNamespace',
      'slow',
    ] as const)
      pool.on(event, () => this.#reenter(event));
  }

  #decide(connection: AnyConnection): SlowDecision {
    const decision = this.#random.weighted<[SlowDecision]>([
      [5, 'drop'],
      [5, 'send'],
      [1, 'close'],
    ])[0];
    const actor = this.#actors.find((one) => one.connection === connection);
    // A listener of `slow` has released it.
    if (actor === undefined) return 'drop';
    this.#note(`policy: ${decision} for ${actor.name}`);
    if (decision === 'close' && this.#isOpen(actor)) {
      actor.closeCode = 1013;
      queueMicrotask(() => {
        if (actor.isStalled) this.#stall(actor);
      });
    }
    return decision === 'close' && actor.closeCode !== 1013 ? 'drop' : decision;
  }

  #reenter(from: string): void {
    if (!this.#options.isReentrant || this.#depth > 2 || this.#budget <= 0 || this.#random.chance(0.4))
      return;
    this.#budget--;
    this.#depth++;
    this.#note(`in ${from}:`);
    try {
      this.#act();
    } finally {
      this.#depth--;
    }
  }

  async run(): Promise<void> {
    const { crowd = 8, operations = OPERATIONS } = this.#options;
    for (let i = 0; i < crowd; i++) this.#enter(await this.#connect());
    for (let i = 0; i < operations; i++) {
      if (this.#outside.length < 2 && this.#actors.length < crowd + 30) await this.#connect();
      this.#budget = 3;
      this.#act();
      this.#verifyRooms();
      if (this.#random.chance(0.1)) await Promise.resolve();
      if (this.#random.chance(0.2)) await nextTurn();
    }
    this.#budget = 0;
    await this.#verify();
  }

  get #outside(): Actor[] {
    return this.#actors.filter((actor) => this.#isOpen(actor) && actor.pool === undefined);
  }

  #isOpen({ closeCode, isCutOff, isMoving }: Actor): boolean {
    return closeCode === undefined && !isCutOff && !isMoving;
  }

  async #connect(): Promise<Actor> {
    const { loopback, clientOptions, kinds = KINDS } = this.#options;
    const pair = await connectTapped(loopback, clientOptions?.(this.#random));
    const name = String(this.#names++);
    const actor: Actor = {
      ...pair,
      name,
      kind: this.#random.pick(kinds),
      connection: undefined as unknown as AnyConnection,
      rooms: new Set(),
      pool: undefined,
      expected: [],
      closeCode: undefined,
      isCutOff: false,
      isStalled: false,
      isMoving: false,
    };
    this.#wrap(actor, name);
    this.#actors.push(actor);
    return actor;
  }

  #wrap(actor: Actor, id: string, namespace = this.#namespace()): void {
    const { kind, socket } = actor;
    let connection: AnyConnection;
    if (kind === 'handlers' || kind === 'async handlers') {
      connection = new Connection<string, WebSocketMessage, object>(id, namespace, socket, {
        send: (message) => {
          socket.send(message as never);
          this.#reenter('handler');
          return kind === 'async handlers' ? nextTurn() : undefined;
        },
        close: (code, reason) => socket.close(code, reason),
      });
    } else if (kind === 'wrapper')
      connection = new Connection<string, WebSocketMessage, object>(id, namespace, new Wrapper(socket));
    else if (kind === 'override' || kind === 'async override') {
      const overriding = new Overriding(id, namespace, socket);
      overriding.isAsync = kind === 'async override';
      connection = overriding;
    } else if (kind === 'renamed') connection = new Renaming(id, namespace, socket);
    else connection = new Connection<string, WebSocketMessage, object>(id, namespace, socket);
    actor.connection = connection;
    connection.on('message', () => this.#reenter('message'));
    connection.on('close', () => {
      actor.pool = undefined;
      actor.rooms.clear();
      if (actor.closeCode === undefined) actor.isCutOff = true;
      this.#reenter('close');
    });
    connection.on('drain', () => this.#reenter('drain'));
  }

  // ---------------------------------------------------------------- operations

  #act(): void {
    const [act] = this.#random.weighted<[() => void]>([
      [34, () => this.#broadcast()],
      [20, () => this.#withOpen((actor) => this.#send(actor))],
      [12, () => this.#withOpen((actor) => this.#changeRooms(actor))],
      [4, () => this.#enterAny()],
      [3, () => this.#withMember((actor) => this.#remove(actor))],
      [2, () => this.#withMember((actor) => this.#release(actor))],
      [2, () => this.#withMember((actor) => this.#replace(actor))],
      [1.2, () => this.#withOpen((actor) => this.#close(actor))],
      [0.7, () => this.#withOpen((actor) => this.#sendThenClose(actor))],
      [0.5, () => this.#closeAll()],
      [0.5, () => this.#fatal()],
      [0.6, () => this.#withOpen((actor) => this.#cutOff(actor))],
      [6, () => this.#withOpen((actor) => this.#stall(actor))],
      [3, () => this.#flush()],
      [3, () => this.#withOpen(({ client }) => client.socket.send('hello'))],
    ]);
    act();
  }

  #note(line: string): void {
    this.#trace.push(`${'  '.repeat(this.#depth)}${line}`);
  }

  #withOpen(act: (actor: Actor) => void): void {
    const open = this.#actors.filter((actor) => this.#isOpen(actor));
    if (open.length > 0) act(this.#random.pick(open));
  }

  #withMember(act: (actor: Actor) => void): void {
    const open = this.#actors.filter((actor) => this.#isOpen(actor) && actor.pool !== undefined);
    if (open.length > 0) act(this.#random.pick(open));
  }

  #message(): { serial: number; message: WebSocketMessage; key: string | undefined } {
    const [from, to] = this.#random.weighted(SIZES);
    const size = from + this.#random.below(to - from);
    const serial = this.#serial++;
    const start = this.#random.below(100_000);
    const isNoise = this.#random.chance(0.25);
    const key = this.#random.chance(0.35) ? this.#random.pick(KEYS) : undefined;
    if (isNoise || this.#random.chance(0.2)) {
      const bytes = Buffer.concat([Buffer.from(`#${serial} `), NOISE.subarray(start, start + size)]);
      this.#messages.set(serial, bytes);
      if (this.#random.chance(0.1)) return { serial, message: new Blob([Uint8Array.from(bytes)]), key };
      return { serial, message: bytes, key };
    }
    const text = `#${serial} ${LETTERS.slice(start, start + size)}`;
    this.#messages.set(serial, text);
    return { serial, message: text, key };
  }

  #audience(): { given: BroadcastOptions<string>; has: (actor: Actor) => boolean } {
    const random = this.#random;
    const some = <T>(items: readonly T[], chance: number): T[] => items.filter(() => random.chance(chance));
    const rooms = random.chance(0.6) ? some(ROOMS, 0.4) : undefined;
    const exceptRooms = random.chance(0.2) ? some(ROOMS, 0.3) : undefined;
    const ids = this.#actors.map(({ connection }) => connection.id);
    const exceptions = random.chance(0.25) ? some(ids, 0.2) : undefined;
    const given: BroadcastOptions<string> = {
      ...(rooms && { rooms: rooms.length === 1 ? rooms[0]! : rooms }),
      ...(exceptRooms && { exceptRooms: new Set(exceptRooms) }),
      ...(exceptions && { exceptions }),
      ...(random.chance(0.1) && { local: true }),
    };
    return {
      given,
      has: (actor) =>
        (rooms === undefined || rooms.some((room) => actor.rooms.has(room))) &&
        !exceptRooms?.some((room) => actor.rooms.has(room)) &&
        !exceptions?.includes(actor.connection.id),
    };
  }

  #anyPool(): AnyPool {
    return this.#random.chance(this.#options.isSliced ? 1 : 0.85) ? this.#pool : this.#otherPool;
  }

  #namespace(): string {
    return this.#options.isSliced && this.#random.chance(0.9)
      ? NAMESPACES[0]!
      : this.#random.pick(NAMESPACES);
  }

  #recipients(pool: AnyPool, namespace: string, has: (actor: Actor) => boolean): Actor[] {
    return this.#actors.filter(
      (actor) =>
        actor.pool === pool &&
        actor.connection.namespace === namespace &&
        actor.closeCode === undefined &&
        has(actor),
    );
  }

  #broadcast(): void {
    const pool = this.#anyPool();
    const namespace = this.#namespace();
    const { given, has } = this.#audience();
    const { serial, message, key } = this.#message();
    const recipients = this.#recipients(pool, namespace, has);
    for (const { expected } of recipients) expected.push({ serial, key });
    const label = `broadcast #${serial} ${key === undefined ? '' : `key ${key} `}to ${namespace} ${JSON.stringify(given.rooms)}: ${recipients.map(({ name }) => name).join()}`;
    this.#note(label);
    const pending = pool.broadcastMessage(
      namespace,
      message,
      key === undefined ? given : { ...given, conflate: key },
    );
    const check = pending.then((result) => ({ serial, recipients, result, label }));
    check.catch(() => undefined);
    this.#broadcasts.push(check);
  }

  #send(actor: Actor): void {
    const { serial, message, key } = this.#message();
    const copy: Copy = { serial, key };
    actor.expected.push(copy);
    this.#note(`send #${serial} ${key === undefined ? '' : `key ${key} `}to ${actor.name}`);
    const pending = actor.connection.send(message, key === undefined ? undefined : { conflate: key });
    this.#check(
      `send #${serial} to ${actor.name} (${actor.kind})`,
      pending.then((isSent) => {
        copy.sent = isSent;
      }),
    );
  }

  #check(label: string, check: Promise<void>): void {
    check.catch(() => undefined);
    this.#labels.push(label);
    this.#checks.push(check);
  }

  #changeRooms({ connection, rooms, name }: Actor): void {
    const [one, two] = [this.#random.pick(ROOMS), this.#random.pick(ROOMS)];
    if (this.#random.chance(0.6)) {
      this.#note(`${name} joins ${one},${two}`);
      rooms.add(one).add(two);
      connection.join([one, two]);
    } else {
      this.#note(`${name} leaves ${one}`);
      rooms.delete(one);
      connection.leave(one);
    }
  }

  #enterAny(): void {
    const outside = this.#outside;
    if (outside.length > 0) this.#enter(this.#random.pick(outside));
  }

  #enter(actor: Actor): void {
    const pool = this.#anyPool();
    this.#note(
      `enter ${actor.name} as ${actor.connection.id} in ${actor.connection.namespace}${pool === this.#pool ? '' : ' of other pool'}`,
    );
    actor.pool = pool;
    void pool.newConnection(actor.connection);
  }

  #remove(actor: Actor): void {
    this.#note(`remove ${actor.name}`);
    const { pool } = actor;
    this.#moving(actor, () => {
      actor.pool = undefined;
      actor.rooms.clear();
      void pool!.removeConnection(actor.connection);
    });
  }

  #moving(actor: Actor, move: () => void): void {
    actor.isMoving = true;
    move();
    actor.isMoving = false;
  }

  /** Lets go of the socket, and wraps it again. */
  #release(actor: Actor): void {
    if (answersLater(actor)) return;
    this.#note(`release ${actor.name}`);
    this.#moving(actor, () => {
      actor.pool = undefined;
      actor.rooms.clear();
      actor.connection.release();
      // What an overridden send has not sent on is lost.
      this.#wrap(actor, `${actor.name}'${this.#names++}`);
    });
  }

  /** Somebody else takes its id. */
  #replace(actor: Actor): void {
    const newcomer = this.#outside.find(
      ({ connection, kind }) => connection.rooms.size === 0 && !answersLater({ kind }),
    );
    if (newcomer === undefined || newcomer === actor) return;
    const { pool } = actor;
    this.#note(`replace ${actor.name} by ${newcomer.name}`);
    this.#moving(newcomer, () =>
      this.#moving(actor, () => {
        newcomer.connection.release();
        this.#wrap(newcomer, actor.connection.id, actor.connection.namespace);
        this.#ending(actor, 4409);
        actor.pool = undefined;
        actor.rooms.clear();
        newcomer.pool = pool;
        void pool!.newConnection(newcomer.connection);
      }),
    );
  }

  #ending(actor: Actor, code: number): void {
    if (actor.isStalled) this.#stall(actor);
    actor.closeCode = code;
  }

  #close(actor: Actor): void {
    this.#note(`close ${actor.name}`);
    this.#ending(actor, 4000);
    void actor.connection.close(4000);
  }

  #sendThenClose(actor: Actor): void {
    const { serial, message } = this.#message();
    this.#note(`send #${serial} to ${actor.name} then close`);
    const copy: Copy = { serial, key: undefined };
    actor.expected.push(copy);
    this.#ending(actor, 4001);
    // A handler that sends something from within is served before the close begins.
    this.#budget = 0;
    this.#check(
      `sendThenClose #${serial} to ${actor.name} (${actor.kind})`,
      actor.connection.sendThenClose(message, 4001).then((isSent) => {
        copy.sent = isSent;
      }),
    );
  }

  #closeAll(): void {
    const pool = this.#anyPool();
    const namespace = this.#namespace();
    const { given, has } = this.#audience();
    const recipients = this.#recipients(pool, namespace, has).slice();
    // User code that runs while a connection is being removed still finds it in the pool.
    if (recipients.length > 3 || this.#actors.some(({ isMoving }) => isMoving)) return;
    this.#note(`close all ${JSON.stringify(given)}: ${recipients.map(({ name }) => name).join()}`);
    for (const actor of recipients) this.#ending(actor, 4003);
    void pool.closeAll(namespace, { ...given, code: 4003 });
  }

  #fatal(): void {
    const pool = this.#anyPool();
    const namespace = this.#namespace();
    const { given, has } = this.#audience();
    const recipients = this.#recipients(pool, namespace, has);
    if (recipients.length > 3 || this.#actors.some(({ isMoving }) => isMoving)) return;
    const { serial, message } = this.#message();
    if (typeof message !== 'string') return;
    const label = `fatal #${serial} ${JSON.stringify(given)}: ${recipients.map(({ name }) => name).join()}`;
    this.#note(label);
    for (const actor of recipients) {
      actor.expected.push({ serial, key: undefined });
      this.#ending(actor, 4004);
    }
    const pending = pool.broadcastError(namespace, message, 4004, '', given);
    const check = pending.then((result) => ({ serial, recipients, result, label }));
    check.catch(() => undefined);
    this.#broadcasts.push(check);
  }

  #cutOff(actor: Actor): void {
    this.#note(`cut off ${actor.name}`);
    if (actor.isStalled) this.#stall(actor);
    actor.isCutOff = true;
    if (this.#random.chance(0.3)) actor.connection.terminate();
    else if (this.#random.chance(0.5)) actor.client.socket.close(4300);
    else actor.client.socket.terminate();
  }

  #stall(actor: Actor): void {
    this.#note(`${actor.isStalled ? 'unstall' : 'stall'} ${actor.name}`);
    if (actor.isStalled) tcpOf(actor.socket).uncork();
    else tcpOf(actor.socket).cork();
    actor.isStalled = !actor.isStalled;
  }

  #flush(): void {
    this.#note('flush');
    this.#pool.flush();
    this.#otherPool.flush();
  }

  // ---------------------------------------------------------------- checks

  #verifyRooms(): void {
    let total = 0;
    for (const pool of [this.#pool, this.#otherPool]) {
      for (const namespace of NAMESPACES) {
        const present = [...pool.rooms(namespace)];
        if (pool === this.#pool) total += present.length;
        for (const room of ROOMS) {
          const ids = [...pool.room(namespace, room).keys()].sort();
          const expected = this.#actors.filter(
            (actor) =>
              actor.pool === pool && actor.connection.namespace === namespace && actor.rooms.has(room),
          );
          const names = expected.map(({ connection }) => connection.id).sort();
          expect(ids, `room ${room} of ${namespace}, ${this.#story()}`).toEqual(names);
          expect(pool.rooms(namespace).has(room)).toBe(names.length > 0);
        }
      }
    }
    expect(this.#pool.stats().rooms).toBe(total);
    for (const { connection, rooms, closeCode, isCutOff } of this.#actors)
      if (closeCode === undefined && !isCutOff)
        expect([...connection.rooms].sort()).toEqual([...rooms].sort());
  }

  async #verify(): Promise<void> {
    for (const actor of this.#actors)
      if (actor.isStalled && actor.closeCode === undefined && !actor.isCutOff) this.#stall(actor);
    if (this.#options.isDrained) {
      for (let i = 0; i < 5; i++) this.#broadcast();
      this.#note('drain');
      for (const actor of this.#actors)
        if (actor.pool === this.#pool && actor.closeCode === undefined && !actor.isCutOff)
          actor.closeCode = 1012;
      const pending = this.#pool.drainConnections({ maxPerSecond: 100_000 });
      this.#check(
        'drain',
        pending.then(({ namespaces }) => expect(namespaces).toBeDefined()),
      );
    }
    const inTime = <T>(what: string, promise: Promise<T>): Promise<T> => {
      const late = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error(`${what} never settles, ${this.#story()}`)), 8_000).unref();
      });
      return Promise.race([promise, late]);
    };
    const broadcasts = await Promise.all(this.#broadcasts.map((one, i) => inTime(`Broadcast ${i}`, one)));
    await Promise.all(this.#checks.map((one, i) => inTime(this.#labels[i]!, one)));
    await Promise.all(
      this.#actors.map((actor) => inTime(`Client ${actor.name} (${actor.kind})`, this.#arrive(actor))),
    );
    for (const actor of this.#actors) this.#verifyActor(actor);
    const received = new Map<Actor, Set<number>>(
      this.#actors.map((actor) => [actor, new Set(actor.client.inbox.map(serialOf))]),
    );
    for (const broadcast of broadcasts) this.#verifyResult(broadcast, received);
    this.#verifyStats(broadcasts, received);
    expect(this.#errors.map(String), this.#story()).toEqual([]);
  }

  async #arrive(actor: Actor): Promise<void> {
    const { client, socket, connection, closeCode, isCutOff } = actor;
    if (closeCode !== undefined || isCutOff) {
      const { code } = await client.closed;
      if (!isCutOff) expect(code, `${actor.name}, ${this.#story()}`).toBe(closeCode);
      return;
    }
    await vi
      .waitUntil(() => connection.bufferedAmount === 0 && socket.bufferedAmount === 0, {
        timeout: 12_000,
        interval: 2,
      })
      .catch(() => {
        throw new Error(`Bytes stay in ${actor.name} (${connection.bufferedAmount}), ${this.#story()}`);
      });
    socket.ping('end');
    await Promise.race([once(client.socket, 'ping'), once(client.socket, 'close')]);
    expect(client.socket.readyState, `client ${actor.name} is open, ${this.#story()}`).toBe(
      client.socket.OPEN,
    );
  }

  #verifyActor(actor: Actor): void {
    const { client, expected: all, isCutOff, closeCode, name } = actor;
    // What an override was working on when its connection was closed, it could not send any more.
    const isUnsent = actor.kind === 'async override' && closeCode !== undefined;
    const expected = isUnsent ? all.filter(({ sent }) => sent !== false) : all;
    const label = `client ${name} (${actor.kind}), ${this.#story()}`;
    expectAlike(client, label);
    const serials = client.inbox.map((message) => {
      const serial = serialOf(message);
      const original = this.#messages.get(serial)!;
      if (
        Buffer.compare(Buffer.from(message), Buffer.from(original)) !== 0 ||
        typeof message !== typeof original
      )
        throw new Error(`Message #${serial} has changed, ${label}`);
      return serial;
    });
    const places = new Map(expected.map((copy, index) => [copy.serial, index]));
    for (const serial of serials)
      if (!places.has(serial)) throw new Error(`#${serial} was not for it, ${label}`);
    if (new Set(serials).size !== serials.length)
      throw new Error(`Received twice, ${serials.join()}, ${label}`);
    const got = new Set(serials);
    for (const { serial, sent } of expected) {
      if (sent === true && !got.has(serial) && !isCutOff)
        throw new Error(`#${serial} was sent and is not there, ${label}`);
      if (sent === false && got.has(serial))
        throw new Error(`#${serial} was not sent and is there, ${label}`);
    }
    const mayDrop = this.#options.maxBufferedBytes !== undefined;
    // Those without a key: in order, and complete.
    const unkeyed = serials.filter((serial) => expected[places.get(serial)!]!.key === undefined);
    const wanted = expected.filter(({ key }) => key === undefined).map(({ serial }) => serial);
    const due = mayDrop
      ? wanted.filter((serial) => got.has(serial))
      : isCutOff
        ? wanted.slice(0, unkeyed.length)
        : wanted;
    expect(unkeyed, label).toEqual(due);
    for (const key of KEYS) this.#verifyKey(actor, expected, key, serials, label);
    const neverConflates = ['handlers', 'async handlers', 'override', 'async override'].includes(actor.kind);
    if (neverConflates && !mayDrop && !isCutOff)
      expect(serials, label).toEqual(expected.map(({ serial }) => serial));
  }

  #verifyKey(
    { isCutOff }: Actor,
    expected: readonly Copy[],
    key: string,
    serials: readonly number[],
    label: string,
  ): void {
    const values = expected.filter((copy) => copy.key === key).map(({ serial }) => serial);
    const received = serials.filter((serial) => values.includes(serial));
    expect(received, `key ${key}, ${label}`).toEqual(values.filter((serial) => received.includes(serial)));
    const mayDrop = this.#options.maxBufferedBytes !== undefined;
    if (!mayDrop && !isCutOff)
      expect(received.at(-1), `the last value of ${key}, ${label}`).toBe(values.at(-1));
    // A value comes after what was sent before the oldest value that it stands for.
    if (mayDrop) return;
    let previous = -1;
    for (const serial of received) {
      const at = values.indexOf(serial);
      const oldest = values[previous + 1]!;
      previous = at;
      const oldestAt = expected.findIndex((copy) => copy.serial === oldest);
      const before = expected.slice(0, oldestAt).filter((copy) => copy.key === undefined);
      const here = serials.indexOf(serial);
      for (const copy of before)
        if (serials.indexOf(copy.serial) > here)
          throw new Error(`#${serial} overtakes #${copy.serial}, ${label}`);
    }
  }

  #verifyResult({ recipients, result, label }: Broadcast, received: Map<Actor, Set<number>>): void {
    const story = `${label} ${JSON.stringify(result)}, ${this.#story()}`;
    const { sent, dropped, failed, conflated } = result;
    expect(sent + dropped + failed + conflated, story).toBe(result.recipients);
    if (recipients.some(({ isCutOff }) => isCutOff)) return;
    expect(result.recipients, story).toBe(recipients.length);
    const serial = Number(/#(\d+)/.exec(label)![1]);
    const copies = recipients.filter((actor) => received.get(actor)!.has(serial)).length;
    // An overridden send answers `false` for what is dropped, as for everything else that is not sent.
    const mayFail =
      this.#options.maxBufferedBytes === undefined
        ? []
        : recipients.filter(({ kind }) => kind.endsWith('override'));
    expect(failed, story).toBeLessThanOrEqual(mayFail.length);
    expect(copies, story).toBeGreaterThanOrEqual(sent);
    expect(copies, story).toBeLessThanOrEqual(sent + conflated);
    if (this.#options.maxBufferedBytes === undefined) expect(dropped, story).toBe(0);
  }

  #verifyStats(broadcasts: readonly Broadcast[], received: Map<Actor, Set<number>>): void {
    const stats = [this.#pool.stats(), this.#otherPool.stats()];
    const conflated = broadcasts.reduce((sum, { result }) => sum + result.conflated, 0);
    const of = (name: 'conflated' | 'superseded' | 'dropped'): number =>
      stats.reduce((sum, one) => sum + one[name], 0);
    expect(of('conflated'), this.#story()).toBeGreaterThanOrEqual(conflated);
    if (this.#actors.some(({ isCutOff }) => isCutOff)) return;
    const lost = this.#actors.reduce(
      (sum, actor) => sum + actor.expected.length - received.get(actor)!.size,
      0,
    );
    // Of a connection in no pool nobody counts what is superseded.
    expect(of('superseded') + of('dropped'), this.#story()).toBeLessThanOrEqual(lost);
  }

  #story(): string {
    return `seed ${this.#options.seed}:\n${this.#trace.slice(-400).join('\n')}`;
  }
}
