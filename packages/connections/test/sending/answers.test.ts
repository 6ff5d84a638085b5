import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { Answers, isThenable } from '../../src/sending/answers.js';
import type { Outcome } from '../../src/sending/delivery.js';
import { connectInMemory, MemorySocket } from '../support/memory-socket.js';
import { watchUnhandled } from '../support/unhandled.js';

function newAnswers() {
  const [onError, onAnswered] = [vi.fn(), vi.fn()];
  const counted: Outcome[] = [];
  const tally = () => ({ count: (outcome: Outcome) => void counted.push(outcome) });
  return { answers: new Answers(onError, onAnswered), onError, onAnswered, counted, tally };
}

const thenable = (then: (resolve: (value: unknown) => void, reject: (error: unknown) => void) => void) =>
  ({ then }) as unknown as PromiseLike<unknown>;

test.each<[string, PromiseLike<unknown>, Outcome]>([
  ['a promise of nothing', Promise.resolve(), 'sent'],
  ['a promise of true', Promise.resolve(true), 'sent'],
  ['a promise of false', Promise.resolve(false), 'failed'],
  ['a thenable that answers at once', thenable((resolve) => resolve(true)), 'sent'],
  [
    'a thenable that answers twice',
    thenable((resolve) => {
      resolve(false);
      resolve(true);
    }),
    'failed',
  ],
])('%s is counted once as %s', async (_, answer, outcome) => {
  const { answers, onError, onAnswered, counted, tally } = newAnswers();
  answers.await(answer, tally());
  expect(answers.isOpen).toBe(true);
  await nextTurn();
  expect([counted, answers.isOpen]).toEqual([[outcome], false]);
  expect(onAnswered).toHaveBeenCalledTimes(1);
  expect(onError).not.toHaveBeenCalled();
});

test.each<[string, () => PromiseLike<unknown>]>([
  ['a promise that rejects', () => Promise.reject(new Error('no'))],
  ['a thenable that rejects', () => thenable((_, reject) => reject(new Error('no')))],
  [
    'a thenable that throws',
    () =>
      thenable(() => {
        throw new Error('no');
      }),
  ],
])('%s is counted once as failed, and reported', async (_, makeAnswer) => {
  const { answers, onError, onAnswered, counted, tally } = newAnswers();
  answers.await(makeAnswer(), tally());
  await nextTurn();
  expect(counted).toEqual(['failed']);
  expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('no'));
  expect(onAnswered).toHaveBeenCalledTimes(1);
});

test('all open answers are settled before any of them is reported', async () => {
  const { answers, onAnswered, tally } = newAnswers();
  const late = nextTurn();
  answers.await(Promise.resolve(), tally());
  answers.await(late, tally());
  await Promise.resolve();
  expect([answers.isOpen, onAnswered.mock.calls.length]).toEqual([true, 0]);
  await late;
  await nextTurn();
  expect([answers.isOpen, onAnswered.mock.calls.length]).toEqual([false, 1]);
});

test('an abandoned answer counts as failed whatever it settles to, and its rejection is still reported', async () => {
  const { answers, onError, onAnswered, counted, tally } = newAnswers();
  answers.await(nextTurn(true), tally());
  answers.abandon();
  answers.abandon();
  expect([counted, answers.isOpen]).toEqual([['failed'], false]);
  answers.await(new Promise(() => undefined), tally());
  expect([counted, answers.isOpen]).toEqual([['failed', 'failed'], false]);
  answers.await(Promise.reject(new Error('late')), tally());
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  expect(counted).toEqual(['failed', 'failed', 'failed']);
  expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('late'));
  expect(onAnswered).not.toHaveBeenCalled();
});

test('a value is a thenable if it has a function called then', () => {
  const values = [
    Promise.resolve(),
    { then: () => undefined },
    { then: 1 },
    null,
    undefined,
    'then',
    () => 1,
  ];
  expect(values.map(isThenable)).toEqual([true, true, false, false, false, false, false]);
});

const HALF = { recipients: 2, sent: 1, dropped: 0, failed: 1, conflated: 0 };

function handledBy(send: () => unknown, close: () => unknown = () => undefined): Connection {
  return new Connection('handled', 'default', new MemorySocket(), { send, close });
}

// The broadcast never resolved for anybody, even after the connection whose handler did not answer was gone.
test('a handler that never answers delays the promise of a broadcast only until its connection ends', async () => {
  const pool = new ConnectionsPool();
  const connection = handledBy(() => new Promise(() => undefined));
  for (const each of [connection, connectInMemory('1').connection]) await pool.newConnection(each);
  const result = pool.broadcastMessage('default', 'x');
  const sent = connection.send('private');
  await nextTurn();
  connection.terminate();
  expect(await result).toEqual(HALF);
  expect(await sent).toBe(false);
});

test('a handler that ends its own connection and never answers has failed', async () => {
  const pool = new ConnectionsPool();
  const connection: Connection = handledBy(() => {
    connection.terminate();
    return new Promise(() => undefined);
  });
  for (const each of [connection, connectInMemory('1').connection]) await pool.newConnection(each);
  expect(await pool.broadcastMessage('default', 'x')).toEqual(HALF);
});

// The message was counted as failed at once, and waited for all the same.
test('a handler that answers with a thenable that throws has failed', async () => {
  const unhandled = watchUnhandled();
  const pool = new ConnectionsPool();
  const errors: string[] = [];
  pool.on('error', ({ message }) => errors.push(message));
  const bad = thenable(() => {
    throw new Error('bad thenable');
  });
  for (const each of [handledBy(() => bad), connectInMemory('1').connection]) await pool.newConnection(each);
  expect(await pool.broadcastMessage('default', 'x')).toEqual(HALF);
  expect(errors).toEqual(['bad thenable']);
  expect(await unhandled.settle()).toEqual([]);
});

// Only promises of this realm were waited for: with the thenable of a query builder or of Bluebird, the close handler
// ran first.
test('a close waits for the thenable that a handler has answered with', async () => {
  const events: string[] = [];
  const slow = (): PromiseLike<unknown> =>
    thenable((resolve) => {
      setImmediate(() => {
        events.push('stored');
        resolve(true);
      });
    });
  const connection = handledBy(slow, () => void events.push('closed'));
  const pool = new ConnectionsPool();
  await pool.newConnection(connection);
  const sent = connection.send('x');
  void connection.close();
  expect(await sent).toBe(true);
  await nextTurn();
  expect(events).toEqual(['stored', 'closed']);
  connection.terminate();
});
