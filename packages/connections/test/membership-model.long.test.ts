import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Connection, ConnectionsPool } from '../src/index.js';
import { expectConsistent } from './support/consistent.js';
import { connectInMemory, MemorySocket } from './support/memory-socket.js';
import { failOnUncaught } from './support/no-uncaught.js';
import { Random } from './support/random.js';
import { assertSame, record, RegistryModel } from './support/registry-model.js';
import { runs } from './support/runs.js';
import { watchUnhandled } from './support/unhandled.js';

failOnUncaught();

test.each([1, 2, 3, 4, 5].slice(0, runs({ quick: 2, ci: 5 })))(
  'a namespace that is created and emptied between sends keeps its counts right (seed %i)',
  async (seed) => {
    const random = new Random(seed);
    const pool = new ConnectionsPool();
    const expected = { made: 0, emptied: 0 };
    pool.on('connection', () => (expected.made += pool.namespace('n').size === 1 ? 1 : 0));
    pool.on('emptyNamespace', () => expected.emptied++);
    const results: ReturnType<ConnectionsPool['broadcastMessage']>[] = [];
    const sends: Promise<boolean>[] = [];
    const sockets: MemorySocket[] = [];
    for (let step = 0; step < 1_000; step++) {
      const id = String(random.below(3));
      const held = pool.getConnection('n', id);
      const action = random.below(7);
      if (action === 0 && held === undefined) {
        const socket = new MemorySocket();
        sockets.push(socket);
        void pool.newConnection(new Connection(id, 'n', socket));
      } else if (action === 1) void held?.close();
      else if (action === 2) held?.terminate();
      else if (action === 3 && held) void pool.removeConnection(held);
      else if (action === 4) results.push(pool.broadcastMessage('n', String(step)));
      else if (action === 5) sends.push(pool.send('n', id, String(step)));
      else await nextTurn();
    }
    await pool.closeAll('n');
    const sentByBroadcast = (await Promise.all(results)).map(({ recipients, sent, dropped, failed }) => {
      assert.equal(sent + dropped + failed, recipients);
      return sent;
    });
    const sentAlone = (await Promise.all(sends)).filter(Boolean).length;
    const sent = sentByBroadcast.reduce((sum, count) => sum + count, sentAlone);
    expect(sockets.reduce((sum, socket) => sum + socket.sent.length, 0)).toBe(sent);
    expect(pool.stats().messagesSent).toBe(sent);
    expect(expected.emptied).toBe(expected.made);
    await expectConsistent(pool, 0);
  },
);

const SEEDS = runs({ quick: 2, ci: 60 }, 'PROPERTY_SEEDS');
const STEPS = 400;
const [NAMESPACES, IDS] = [
  ['one', 'two', '__proto__'],
  ['1', '2', 'constructor'],
] as const;

interface Member {
  readonly connection: Connection;
  readonly socket: MemorySocket;
  /** The messages that it must have been sent. */
  readonly messages: string[];
}

/** One pool, one model, and the same operations on both. */
class Run {
  readonly random: Random;
  readonly model: RegistryModel;
  readonly pool: ConnectionsPool;
  readonly told: string[];
  readonly members: Member[] = [];
  /** Promises that must all settle at some time. */
  readonly promises: Promise<unknown>[] = [];
  sent = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    const onDuplicate = this.random.pick(['reject', 'replace'] as const);
    this.model = new RegistryModel(onDuplicate);
    this.pool = new ConnectionsPool({ onDuplicate });
    this.told = record(this.pool);
  }

  readonly operations: Record<string, (member: Member) => void> = {
    join: () => {
      const { random } = this;
      // Half of the peers answer a close frame at once. The others remain closing until they end.
      const socket = new MemorySocket(random.chance(0.5));
      const { connection } = connectInMemory(random.pick(IDS), random.pick(NAMESPACES), socket);
      // Before the library learns of it, so that the model is never late.
      socket.prependListener('close', (code: number) => this.model.close(connection, code));
      this.members.push({ connection, socket, messages: [] });
      this.#join(connection);
    },
    joinAgain: ({ connection }) => this.#join(connection),
    remove: ({ connection }) => {
      let calls = 0;
      const isCalled = this.model.remove(connection);
      const removed = this.pool.removeConnection(connection, () => calls++);
      this.promises.push(removed.then(() => assert.equal(calls, isCalled ? 1 : 0)));
    },
    close: ({ connection }) => {
      this.model.closing.add(connection);
      this.promises.push(connection.close(4000));
    },
    closeAll: () => {
      const namespace = this.random.pick(NAMESPACES);
      for (const member of this.model.recipients(namespace)) this.model.closing.add(member);
      this.promises.push(this.pool.closeAll(namespace));
    },
    terminate: ({ connection }) => connection.terminate(),
    /** The peer answers our close, or closes first. */
    end: ({ socket }) => socket.end(1001),
    broadcast: () => {
      const namespace = this.random.pick(NAMESPACES);
      const exceptions = this.random.chance(0.5) ? [this.random.pick(IDS)] : [];
      const recipients = this.model
        .recipients(namespace)
        .filter(({ id }) => !exceptions.includes(id as (typeof IDS)[number]));
      const message = String(this.sent++);
      for (const { connection, messages } of this.members) {
        if (recipients.includes(connection)) messages.push(message);
      }
      const result = this.pool.broadcastMessage(namespace, message, exceptions);
      this.promises.push(
        result.then((counts) => {
          assert.equal(counts.recipients, recipients.length);
          assert.equal(counts.sent + counts.dropped + counts.failed, counts.recipients);
        }),
      );
    },
    send: () => {
      this.promises.push(this.pool.send(this.random.pick(NAMESPACES), this.random.pick(IDS), 'private'));
    },
    flush: () => this.pool.flush(),
    read: () => {
      const [namespace, id] = [this.random.pick(NAMESPACES), this.random.pick(IDS)];
      this.pool.namespace(namespace);
      this.pool.hasNamespace(`${namespace}${id}`);
      this.pool.getConnection(`${namespace}${id}`, id);
    },
  };

  #join(connection: Connection): void {
    this.model.join(connection);
    this.promises.push(this.pool.newConnection(connection));
  }

  step(): void {
    const name = this.random.chance(0.3) ? 'join' : this.random.pick(Object.keys(this.operations));
    const operation = this.members.length === 0 ? 'join' : name;
    this.operations[operation]!(this.random.pick(this.members));
    assertSame(this.pool, this.told, this.model);
  }

  /**
   * A broadcast may be missing if its connection ended before the turn did; nothing else may arrive or be out of order.
   */
  expectMessages(): void {
    for (const { socket, messages } of this.members) {
      const broadcasts = socket.sent.filter((message) => message !== 'private');
      assert.deepEqual(
        messages.filter((message) => broadcasts.includes(message)),
        broadcasts,
      );
    }
  }
}

test.each(Array.from({ length: SEEDS }, (_, seed) => seed))(
  'a pool agrees with its model, whatever is called and awaited at any time (seed %i)',
  async (seed) => {
    const unhandled = watchUnhandled();
    const run = new Run(seed);
    for (let step = 0; step < STEPS; step++) {
      const pause = run.random.below(10);
      if (pause === 0) await nextTurn();
      else if (pause === 1) await Promise.resolve();
      else run.step();
    }
    for (const { socket } of run.members) socket.end(1001);
    await Promise.all(run.promises);
    run.expectMessages();
    expect(run.pool.stats()).toMatchObject({ connections: 0, namespaces: 0, closing: 0, errors: 0 });
    expect(await unhandled.settle()).toEqual([]);
  },
);

test.each(Array.from({ length: runs({ quick: 1, ci: 20 }) }, (_, seed) => 1_000 + seed))(
  'exactly the members that are not closing get a broadcast (seed %i)',
  async (seed) => {
    const run = new Run(seed);
    for (let step = 0; step < 120; step++) {
      run.step();
      await nextTurn();
      const namespace = run.random.pick(NAMESPACES);
      const live = run.model.recipients(namespace);
      const message = `all ${step}`;
      const result = await run.pool.broadcastMessage(namespace, message);
      assert.deepEqual(result, {
        recipients: live.length,
        sent: live.length,
        dropped: 0,
        failed: 0,
        conflated: 0,
      });
      const hasIt = ({ socket }: Member): boolean => socket.sent.at(-1) === message;
      assert(run.members.every((one) => hasIt(one) === live.includes(one.connection)));
    }
    for (const { socket } of run.members) socket.end(1001);
  },
);
