import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { MemorySocket } from './support/memory-socket.js';
import { Random } from './support/random.js';
import { watchUnhandled } from './support/unhandled.js';

/** A soak raises them. */
const SEEDS = Number(process.env['PROPERTY_SEEDS'] ?? 60);
const STEPS = 400;
const [NAMESPACES, IDS] = [
  ['one', 'two', '__proto__'],
  ['1', '2', 'constructor'],
] as const;

interface Member {
  readonly connection: Connection;
  readonly socket: MemorySocket;
  /** What the socket is still to be told of: it answers when the test says so. */
  isClosing: boolean;
}

/**
 * The registry as it should be: each operation takes effect at the call, a socket that closes at its event.
 * Beside it the events that the pool owes.
 */
class Model {
  readonly namespaces = new Map<string, Map<string, Member>>();
  readonly events: string[] = [];
  readonly #replaces: boolean;

  constructor(replaces: boolean) {
    this.#replaces = replaces;
  }

  get size(): number {
    return [...this.namespaces.values()].reduce((sum, { size }) => sum + size, 0);
  }

  find({ connection: { namespace, id } }: Member): Member | undefined {
    return this.namespaces.get(namespace)?.get(id);
  }

  /** @returns whether it is taken in */
  add(member: Member): boolean {
    const { namespace, id } = member.connection;
    const holder = this.find(member);
    if (holder === member) return true;
    if (holder !== undefined && !holder.isClosing && !this.#replaces) return false;
    if (holder !== undefined) holder.isClosing = true;
    const members = this.namespaces.get(namespace) ?? new Map<string, Member>();
    this.namespaces.set(namespace, members.set(id, member));
    if (holder !== undefined) this.events.push(`- ${namespace} ${id}`);
    this.events.push(`+ ${namespace} ${id}`);
    return true;
  }

  /** @returns whether its namespace is empty now */
  remove(member: Member): boolean {
    const { namespace, id } = member.connection;
    if (this.find(member) !== member) return false;
    const members = this.namespaces.get(namespace)!;
    members.delete(id);
    this.events.push(`- ${namespace} ${id}`);
    if (members.size > 0) return false;
    this.namespaces.delete(namespace);
    this.events.push(`0 ${namespace}`);
    return true;
  }
}

/** One pool, one model, and the same operations on both. */
class Run {
  readonly random: Random;
  readonly model: Model;
  readonly pool: ConnectionsPool;
  readonly members: Member[] = [];
  readonly events: string[] = [];
  /** Outcomes that must come, whenever. */
  readonly promises: Promise<unknown>[] = [];
  emptied = 0;
  expectedEmptied = 0;
  #compared = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    const replaces = this.random.chance(0.5);
    this.model = new Model(replaces);
    this.pool = new ConnectionsPool({ onDuplicate: replaces ? 'replace' : 'reject' });
    const name = ({ namespace, id }: Connection): string => `${namespace} ${id}`;
    this.pool.on('connection', (connection) => this.events.push(`+ ${name(connection)}`));
    this.pool.on('disconnection', (connection) => this.events.push(`- ${name(connection)}`));
    this.pool.on('emptyNamespace', (namespace) => this.events.push(`0 ${namespace}`));
  }

  readonly operations: Record<string, () => void> = {
    join: () => {
      const { random } = this;
      const socket = new MemorySocket(false);
      const connection = new Connection(random.pick(IDS), random.pick(NAMESPACES), socket);
      const member = { connection, socket, isClosing: false };
      const isTaken = this.model.add(member);
      if (isTaken) this.members.push(member);
      const joined = this.pool.newConnection(connection);
      this.promises.push(
        isTaken ? joined : expect(joined).rejects.toMatchObject({ code: 'ERR_DUPLICATE_CONNECTION' }),
      );
    },
    remove: () => {
      const member = this.#any();
      if (member === undefined) return;
      if (this.model.remove(member)) this.expectedEmptied++;
      this.promises.push(this.pool.removeConnection(member.connection, () => this.emptied++));
    },
    joinAgain: () => {
      const member = this.#any();
      if (member === undefined || member.isClosing) return;
      const isTaken = this.model.add(member);
      this.promises.push(
        this.pool.newConnection(member.connection).then(
          () => expect(isTaken).toBe(true),
          () => expect(isTaken).toBe(false),
        ),
      );
    },
    close: () => {
      const member = this.#any();
      if (member === undefined) return;
      member.isClosing = true;
      this.promises.push(member.connection.close(4000));
    },
    closeAll: () => {
      const namespace = this.random.pick(NAMESPACES);
      for (const member of this.model.namespaces.get(namespace)?.values() ?? []) member.isClosing = true;
      this.promises.push(this.pool.closeAll(namespace));
    },
    terminate: () => {
      const member = this.#any();
      if (member === undefined) return;
      this.#gone(member);
      member.connection.terminate();
    },
    /** The peer answers, or closes of its own accord. */
    end: () => {
      const member = this.#any();
      if (member === undefined) return;
      this.#gone(member);
      member.socket.end(1001);
    },
    broadcast: () => {
      const namespace = this.random.pick(NAMESPACES);
      const [recipients, excepted] = [this.model.namespaces.get(namespace)?.size ?? 0, this.random.pick(IDS)];
      const isExcepted = this.random.chance(0.5);
      const held = isExcepted && this.model.namespaces.get(namespace)?.has(excepted) ? 1 : 0;
      const result = this.pool.broadcastMessage(namespace, 'x', isExcepted ? [excepted] : []);
      this.promises.push(
        result.then((counts) => {
          expect(counts.recipients).toBe(recipients - held);
          expect(counts.sent + counts.dropped + counts.failed).toBe(counts.recipients);
        }),
      );
    },
    send: () => {
      this.promises.push(this.pool.send(this.random.pick(NAMESPACES), this.random.pick(IDS), 'x'));
    },
    flush: () => this.pool.flush(),
    read: () => {
      const [namespace, id] = [this.random.pick(NAMESPACES), this.random.pick(IDS)];
      this.pool.namespace(namespace);
      this.pool.hasNamespace(`${namespace}${id}`);
      this.pool.getConnection(`${namespace}${id}`, id);
    },
  };

  #any(): Member | undefined {
    return this.members.length === 0 ? undefined : this.random.pick(this.members);
  }

  #gone(member: Member): void {
    this.model.remove(member);
    member.isClosing = true;
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** By `assert`: a hundred thousand `expect`s would take ten times as long as all that they look at. */
  expectSame(): void {
    const { pool, model } = this;
    assert.deepEqual([...pool.connections.keys()], [...model.namespaces.keys()]);
    for (const [name, members] of model.namespaces) {
      const seen = [...pool.connections.get(name)!.values()];
      assert.equal(seen.length, members.size);
      for (const [at, { connection }] of [...members.values()].entries()) assert.equal(seen[at], connection);
    }
    assert.equal(this.events.length, model.events.length);
    // Those before were compared when they came, and only more are added.
    for (; this.#compared < this.events.length; this.#compared++) {
      assert.equal(this.events[this.#compared], model.events[this.#compared]);
    }
    const { connections, namespaces } = pool.stats();
    assert.deepEqual(
      { connections, namespaces },
      { connections: model.size, namespaces: model.namespaces.size },
    );
  }
}

describe('the registry', () => {
  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))(
    'is what a model of it says, whatever is called and awaited when (seed %i)',
    async (seed) => {
      const unhandled = watchUnhandled();
      const run = new Run(seed);
      const names = Object.keys(run.operations);
      for (let step = 0; step < STEPS; step++) {
        const pause = run.random.below(10);
        if (pause === 0) await nextTurn();
        else if (pause === 1) await Promise.resolve();
        else run.operations[run.random.chance(0.3) ? 'join' : run.random.pick(names)]!();
        run.expectSame();
      }
      for (const { socket } of run.members) socket.end(1001);
      await Promise.all(run.promises);
      expect(run.pool.stats()).toMatchObject({ connections: 0, namespaces: 0, errors: 0 });
      expect(run.emptied).toBe(run.expectedEmptied);
      expect(await unhandled.settle()).toEqual([]);
    },
  );
});
