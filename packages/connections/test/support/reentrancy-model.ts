import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  Connection,
  ConnectionsPool,
  type BroadcastResult,
  type NativeConnectionHandlers,
  type WebSocketMessage,
} from '../../src/index.js';
import { coreOf } from '../../src/connection.js';
import { MemorySocket } from './memory-socket.js';
import type { Random } from './random.js';

const NAMESPACES = ['one', 'two'];
const IDS = ['a', 'b', 'c', 'd', 'e', 'f'];
/** How many calls user code makes in one round; without a bound it would never stop. */
const MAX_CALLS = 25;

/** A member of one round. */
interface Actor {
  readonly connection: Connection;
  readonly socket: MemorySocket;
  /**
   * The messages that it was given, in order. `undefined` if its own code calls the pool, so that no order is promised.
   */
  readonly received: readonly unknown[] | undefined;
}

/** A socket that calls the pool while it is used. */
class BusySocket extends MemorySocket {
  readonly #act: () => void;

  constructor(answersClose: boolean, act: () => void) {
    super(answersClose);
    this.#act = act;
  }

  override send(message: unknown): void {
    this.#act();
    super.send(message);
  }

  override close(code?: number, reason?: string): void {
    super.close(code, reason);
    this.#act();
  }
}

/** A connection whose methods are overridden, and call the pool. */
class BusyConnection extends Connection {
  act: () => void = () => undefined;
  waits = false;

  override async send(message: WebSocketMessage): Promise<boolean> {
    this.act();
    if (this.waits) await Promise.resolve();
    const sent = super.send(message);
    this.act();
    return sent;
  }

  override async close(code?: number, reason?: string): Promise<void> {
    this.act();
    const closed = super.close(code, reason);
    this.act();
    return closed;
  }
}

/**
 * One pool whose users' code calls it at every opportunity: sockets, handlers, overridden methods, listeners and
 * iterables of exceptions.
 */
export class ReentrancyRound {
  readonly #random: Random;
  readonly #pool: ConnectionsPool;
  readonly #actors: Actor[] = [];
  /** When each message was broadcast or sent: its place among all calls. */
  readonly #places = new Map<unknown, number>();
  readonly #results: { isSettled: boolean; readonly name: string }[] = [];
  /** The policy was asked about these messages: what it sends meanwhile precedes the message that it is asked about. */
  readonly #slow = new Set<Connection>();
  #callsLeft = MAX_CALLS;
  #depth = 0;
  #serial = 0;
  #joined = 0;
  #left = 0;

  /** @param members how many members have code that calls nothing, besides some whose code does */
  constructor(random: Random, members: number) {
    this.#random = random;
    const act = (): void => this.#act();
    this.#pool = new ConnectionsPool({
      onDuplicate: random.pick(['reject', 'replace'] as const),
      maxBufferedBytes: random.pick([200, 2_000, 1e6]),
      maxFlushMs: 1,
      onSlow: (connection) => {
        this.#slow.add(connection);
        this.#act();
        return random.pick(['send', 'drop', 'close'] as const);
      },
    });
    // Without a listener each pool would warn.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connection', () => this.#joined++);
    this.#pool.on('disconnection', () => this.#left++);
    for (const event of [
      'connection',
      'disconnection',
      'emptyNamespace',
      'refused',
      'slow',
      'error',
    ] as const)
      if (random.chance(0.5)) this.#pool.on(event, act);
    for (let i = 0; i < members; i++) this.#join(this.#newcomer(true, `plain ${i}`));
    for (let i = 0; i < 5; i++) this.#join(this.#newcomer());
  }

  /** Some turns, each with some calls. */
  async run(): Promise<void> {
    for (let turn = 0; turn < 2; turn++) {
      for (let i = 0; i < 3; i++) {
        this.#callsLeft++;
        this.#act();
        this.#expectConsistent();
      }
      await nextTurn();
      this.#expectConsistent();
    }
    this.#callsLeft = 0;
    await this.#expectReachable();
    await this.#end();
    this.#expectOrder();
  }

  // ---------------------------------------------------------------- calls

  /** Calls the pool in some way, unless the round has already made its calls. */
  #act(): void {
    if (this.#callsLeft <= 0 || this.#depth > 4 || this.#random.chance(this.#depth * 0.2)) return;
    this.#callsLeft--;
    this.#depth++;
    try {
      this.#random.pick(this.#calls)();
    } finally {
      this.#depth--;
    }
  }

  readonly #calls: readonly (() => void)[] = [
    () => this.#broadcast(),
    () => this.#broadcast(),
    () => this.#broadcast(),
    () => this.#broadcastError(),
    () => this.#send(),
    () => this.#send(),
    () => this.#sendThenClose(),
    () => this.#note('close', this.#any().connection.close(4000)),
    () => this.#note('closeAll', this.#pool.closeAll(this.#random.pick(NAMESPACES))),
    () =>
      this.#note(
        'remove',
        this.#pool.removeConnection(this.#any().connection, () => this.#act()),
      ),
    () => this.#note('join', this.#pool.newConnection(this.#any().connection)),
    () => this.#join(this.#newcomer()),
    () => this.#any().connection.terminate(),
    () => this.#any().socket.end(),
    () => this.#pool.flush(),
    () => this.#pool.flush(),
  ];

  #broadcast(): void {
    const text = this.#text();
    const isIterated = this.#random.chance(0.3);
    // The exceptions are read before anything is sent: their own broadcasts come first.
    const exceptions = isIterated ? this.#exceptions(text) : undefined;
    if (!isIterated) this.#place(text);
    this.#noteResult(this.#pool.broadcastMessage(this.#random.pick(NAMESPACES), text, exceptions));
  }

  *#exceptions(text: string): Generator<string> {
    for (const id of IDS) {
      this.#act();
      if (this.#random.chance(0.2)) yield id;
    }
    this.#place(text);
  }

  #broadcastError(): void {
    const text = this.#text();
    this.#place(text);
    const code = this.#random.chance(0.3) ? 4001 : undefined;
    this.#noteResult(this.#pool.broadcastError(this.#random.pick(NAMESPACES), text, code));
  }

  #send(): void {
    const text = this.#text();
    this.#place(text);
    this.#note('send', this.#any().connection.send(text));
  }

  #sendThenClose(): void {
    const text = this.#text();
    this.#place(text);
    this.#note('sendThenClose', this.#any().connection.sendThenClose(text, 4002));
  }

  #text(): string {
    return `${this.#serial++} ${'x'.repeat(this.#random.pick([0, 10, 50, 300]))}`;
  }

  #place(text: string): void {
    this.#places.set(text, this.#places.size);
  }

  #any(): Actor {
    return this.#random.pick(this.#actors);
  }

  // ---------------------------------------------------------------- members

  #newcomer(isPlain = this.#random.chance(0.3), id = this.#random.pick(IDS)): Actor {
    const { random } = { random: this.#random };
    const namespace = random.pick(NAMESPACES);
    const act = (): void => this.#act();
    const answersClose = random.chance(0.5);
    if (isPlain) {
      const socket = new MemorySocket(answersClose);
      return this.#add({ connection: new Connection(id, namespace, socket), socket, received: socket.sent });
    }
    const socket = new BusySocket(answersClose, act);
    let connection: Connection;
    const kind = random.below(3);
    if (kind === 0) connection = new Connection(id, namespace, socket);
    else if (kind === 1) connection = new Connection(id, namespace, socket, this.#handlers(socket));
    else {
      const busy = new BusyConnection(id, namespace, socket);
      busy.act = act;
      busy.waits = random.chance(0.5);
      connection = busy;
    }
    for (const event of ['close', 'drain', 'error'] as const) connection.on(event, act);
    return this.#add({ connection, socket, received: undefined });
  }

  #add(actor: Actor): Actor {
    this.#actors.push(actor);
    return actor;
  }

  #handlers(socket: MemorySocket): NativeConnectionHandlers<WebSocketMessage> {
    return {
      send: () => {
        this.#act();
        return this.#answer();
      },
      close: (code, reason) => {
        this.#act();
        socket.close(code, reason);
      },
    };
  }

  /** Answers in every way in which user code can, including never and wrongly. */
  #answer(): unknown {
    const answers: (() => unknown)[] = [
      () => undefined,
      () => false,
      () => Promise.resolve(true),
      () => Promise.resolve(false),
      () => nextTurn(),
      () => Promise.reject(new Error('rejected')),
      () => new Promise(() => undefined),
      () => ({ then: (resolve: (value: unknown) => void) => resolve(true) }),
      () => ({
        then: () => {
          throw new Error('bad thenable');
        },
      }),
      () => {
        throw new Error('thrown');
      },
    ];
    return this.#random.pick(answers)();
  }

  #join({ connection }: Actor): void {
    this.#note('join', this.#pool.newConnection(connection));
  }

  // ---------------------------------------------------------------- what must hold

  #note(name: string, promise: Promise<unknown>): void {
    const result = { isSettled: false, name };
    this.#results.push(result);
    const settle = (): void => void (result.isSettled = true);
    promise.then(settle, settle);
  }

  #noteResult(promise: Promise<BroadcastResult>): void {
    const summed = promise.then(({ recipients, sent, dropped, failed }) => {
      assert.equal(sent + dropped + failed, recipients);
    });
    summed.catch((error: unknown) => (this.#wrong ??= error));
    this.#note('broadcast', summed);
  }

  #wrong: unknown;

  /** The registry, its figures, its events and the connections agree, and no connection is half in the pool. */
  #expectConsistent(): void {
    const { connections: pool } = this.#pool;
    const { connections, namespaces, closing } = this.#pool.stats();
    const members = new Set<Connection>();
    for (const [name, namespace] of pool) {
      assert.ok(namespace.size > 0);
      for (const [id, connection] of namespace) {
        assert.ok(connection.namespace === name && connection.id === id);
        members.add(connection);
      }
    }
    assert.equal(members.size, connections);
    assert.equal(pool.size, namespaces);
    assert.equal(this.#joined - this.#left, connections);
    for (const { connection, socket } of this.#actors) {
      const isMember = members.has(connection);
      assert.equal(coreOf(connection).pool !== undefined, isMember);
      if (isMember) assert.notEqual(socket.readyState, 3);
    }
    assert.ok(closing >= 0 && closing <= connections);
  }

  /** Every open member can be reached. Nobody else gets anything, and every connection outside can join. */
  async #expectReachable(): Promise<void> {
    await nextTurn();
    for (const { connection } of this.#actors)
      if (!connection.closed) void this.#pool.removeConnection(connection);
    this.#expectConsistent();
    for (const { connection } of this.#actors) {
      if (connection.closed) continue;
      void this.#pool.newConnection(connection);
      const holder = this.#pool.getConnection(connection.namespace, connection.id);
      const isOpen = !coreOf(connection).isClosed;
      if (isOpen) assert.equal(holder, connection);
    }
    for (const name of NAMESPACES) {
      const open = [...this.#pool.namespace(name).values()].filter(({ closed }) => !closed);
      const text = `last ${name}`;
      this.#place(text);
      const result = this.#pool.broadcastMessage(name, text);
      this.#noteResult(result);
      this.#pool.flush();
      for (const { connection, received, socket } of this.#actors) {
        if (received === undefined || socket.bufferedAmount > 0) continue;
        const isMember = open.includes(connection) && connection.namespace === name;
        assert.equal(received.includes(text), isMember);
      }
    }
  }

  async #end(): Promise<void> {
    for (const { connection } of this.#actors) connection.terminate();
    for (const { socket } of this.#actors) socket.end();
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    assert.deepEqual(
      this.#results.filter(({ isSettled }) => !isSettled).map(({ name }) => name),
      [],
    );
    if (this.#wrong !== undefined) throw this.#wrong as Error;
    const { connections, namespaces, closing, slowNow } = this.#pool.stats();
    assert.deepEqual(
      { connections, namespaces, closing, slowNow },
      { connections: 0, namespaces: 0, closing: 0, slowNow: 0 },
    );
  }

  /** A connection without its own code gets its messages in the order of the calls, and each at most once. */
  #expectOrder(): void {
    for (const { connection, received } of this.#actors) {
      if (received === undefined) continue;
      const places = received.map((message) => this.#places.get(message) ?? -1);
      const once = [...new Set(places)];
      assert.deepEqual(places, this.#slow.has(connection) ? once : once.sort((a, b) => a - b));
      assert.ok(!places.includes(-1));
    }
  }
}
