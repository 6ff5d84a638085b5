import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { EndOfTurn, type Flushable } from '../../src/sending/end-of-turn.js';
import { endTurn } from '../support/engine.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { onTestFinished } from '../support/on-test-finished.js';
import { slowClock } from '../support/slow-clock.js';

test('one immediate is scheduled per turn, however many namespaces and messages the turn has', async () => {
  // However slow the machine is, all of it fits into one turn.
  const pool = new ConnectionsPool({ maxFlushMs: 60_000 });
  for (let i = 0; i < 10; i++) await pool.newConnection(connectInMemory('1', `n${i}`).connection);
  const asked = vi.spyOn(globalThis, 'setImmediate');
  onTestFinished(() => asked.mockRestore());
  for (let i = 0; i < 100; i++) void pool.broadcastMessage(`n${i % 10}`, 'x');
  expect(asked).toHaveBeenCalledTimes(1);
  await endTurn();
  void pool.broadcastMessage('n0', 'y');
  expect(asked).toHaveBeenCalledTimes(2);
});

test('a broadcast that nobody reads from the log leaves nothing to do at the end of the turn', async () => {
  const pool = new ConnectionsPool();
  const { connection } = connectInMemory();
  await pool.newConnection(connection);
  const { connection: overridden } = connectInMemory('overridden');
  const send = overridden.send.bind(overridden);
  Object.assign(overridden, { send: (message: string) => send(message) });
  overridden.join('red');
  await pool.newConnection(overridden);
  await endTurn();
  const asked = vi.spyOn(globalThis, 'setImmediate');
  onTestFinished(() => asked.mockRestore());
  const results = [
    pool.broadcastMessage('default', 'x', [connection.id]),
    pool.broadcastMessage('default', 'x', { rooms: 'red' }),
  ];
  for (const result of results) expect(await result).toMatchObject({ recipients: 1, sent: 1 });
  expect(asked).not.toHaveBeenCalled();
});

// Two requests of two tenants broadcast in one turn. The handler of the second ran in the AsyncLocalStorage context of
// the first: its traces and its tenant were wrong.
test('handlers at the end of a turn run outside of every AsyncLocalStorage context', async () => {
  const tenant = new AsyncLocalStorage<string>();
  // In use, it slows down all tests that follow in this process.
  onTestFinished(() => tenant.disable());
  const pool = new ConnectionsPool();
  const seen: unknown[] = [];
  for (const namespace of ['a', 'b']) {
    const handlers = { send: () => void seen.push(tenant.getStore()), close: () => undefined };
    await pool.newConnection(new Connection('1', namespace, {}, handlers));
  }
  for (const namespace of ['a', 'b']) tenant.run(namespace, () => void pool.broadcastMessage(namespace, 'x'));
  await endTurn();
  expect(seen).toEqual([undefined, undefined]);
});

test('a namespace with more messages than one turn can write does not starve the others', async () => {
  const order: string[] = [];
  const flushable = (name: string, turns: number): Flushable => ({
    flush: () => {
      order.push(name);
      return --turns > 0 ? 'some' : 'all';
    },
  });
  const endOfTurn = new EndOfTurn(1);
  endOfTurn.add(flushable('busy', 3));
  endOfTurn.add(flushable('other', 1));
  endOfTurn.add(flushable('another', 1));
  for (let turn = 0; turn < 4; turn++) await nextTurn();
  expect(order).toEqual(['busy', 'other', 'another', 'busy', 'busy']);
});

test('flush() leaves nothing for the end of the turn, and also flushes namespaces that were interrupted', async () => {
  const deadlines: number[] = [];
  const endOfTurn = new EndOfTurn(1);
  endOfTurn.add({
    flush: (deadlineMs) => {
      deadlines.push(deadlineMs);
      return deadlineMs === Infinity ? 'all' : 'waiting';
    },
  });
  await endTurn();
  await endTurn();
  expect(deadlines).toHaveLength(1);
  endOfTurn.flush();
  endOfTurn.flush();
  await endTurn();
  expect(deadlines.slice(1)).toEqual([Infinity]);
});

// With a namespace per user, each of some thousand broadcasts was written in the same turn: the clock was only read
// within a namespace, and the event loop was blocked for 50 ms whatever `maxFlushMs` said.
test('maxFlushMs holds for broadcasts to many namespaces of one member each', async () => {
  const clock = slowClock();
  const pool = new ConnectionsPool({ maxFlushMs: 5 });
  let writes = 0;
  for (let i = 0; i < 30; i++) {
    const socket = new MemorySocket();
    socket.send = () => {
      writes++;
      clock.pass(2);
    };
    await pool.newConnection(connectInMemory('1', `n${i}`, socket).connection);
  }
  const results = Array.from({ length: 30 }, (_, i) => pool.broadcastMessage(`n${i}`, 'x'));
  // Three writes exceed five milliseconds.
  const perTurn: number[] = [];
  while (writes < 30) {
    const before = writes;
    await nextTurn();
    perTurn.push(writes - before);
  }
  expect(perTurn).toEqual(Array.from({ length: 10 }, () => 3));
  for (const result of await Promise.all(results)) expect(result).toMatchObject({ recipients: 1, sent: 1 });
});

test('what is to be flushed first is flushed before all others, at the end of the turn and by flush()', async () => {
  const endOfTurn = new EndOfTurn(5);
  const order: string[] = [];
  const first = { flush: () => void order.push('first') };
  const other: Flushable = {
    flush: () => {
      order.push('other');
      return 'all';
    },
  };
  endOfTurn.add(other);
  endOfTurn.addFirst(first);
  await endTurn();
  expect(order.splice(0)).toEqual(['first', 'other']);
  // Alone, it is flushed too, and once.
  endOfTurn.addFirst(first);
  await endTurn();
  expect(order.splice(0)).toEqual(['first']);
  endOfTurn.add(other);
  endOfTurn.addFirst(first);
  endOfTurn.flush();
  expect(order.splice(0)).toEqual(['first', 'other']);
  await endTurn();
  expect(order).toEqual([]);
});

test('what is added first while others are flushed is flushed in the next turn', async () => {
  const endOfTurn = new EndOfTurn(5);
  const order: string[] = [];
  const first = { flush: () => void order.push('first') };
  endOfTurn.add({
    flush: () => {
      order.push('other');
      endOfTurn.addFirst(first);
      return 'all';
    },
  });
  await endTurn();
  expect(order).toEqual(['other', 'first']);
});
