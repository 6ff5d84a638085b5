import { expect, test, vi } from 'vitest';
import type { ConnectionsPool } from '../../src/index.js';
import { Connection } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { TimedSocket, timedPool } from '../support/timed-pool.js';

useFakeClock();

/** Nobody has been closed, and the pool works as if the drain had not been called. */
async function expectUndisturbed({ pool, sockets, closesMs }: ReturnType<typeof timedPool>): Promise<void> {
  expect(pool.draining).toBe(false);
  expect(pool.stats()).toMatchObject({ connections: sockets.length, drains: 0 });
  await vi.advanceTimersByTimeAsync(2_000);
  expect(closesMs()).toEqual([]);
  const newcomer = new TimedSocket();
  await pool.newConnection(new Connection('newcomer', 'n0', newcomer));
  const broadcast = pool.broadcastMessage('n0', 'x');
  await vi.advanceTimersByTimeAsync(1);
  expect(await broadcast).toMatchObject({ recipients: sockets.length + 1, sent: sockets.length + 1 });
  for (const socket of [...sockets, newcomer]) expect(socket.sent).toEqual(['x']);
}

/** The error for these arguments. */
async function refusalOf(pool: ConnectionsPool, ...args: readonly unknown[]): Promise<Error> {
  const drain = pool.drainConnections.bind(pool) as (...args: readonly unknown[]) => Promise<unknown>;
  return drain(...args).then(
    () => expect.fail('The drain began'),
    (error: unknown) => error as Error,
  );
}

test.each<[unknown, ErrorConstructor]>([
  [0, RangeError],
  [-1, RangeError],
  [NaN, RangeError],
  [Infinity, RangeError],
  [1.5, RangeError],
  [Number.MAX_SAFE_INTEGER + 1, RangeError],
  ['10', TypeError],
  [null, TypeError],
  [10n, TypeError],
  [true, TypeError],
])('a drain with a rate of %s is refused, and nothing is closed', async (rate, error) => {
  const timed = timedPool(1);
  expect(await refusalOf(timed.pool, rate)).toBeInstanceOf(error);
  await expectUndisturbed(timed);
});

test.each<[string, unknown, unknown, ErrorConstructor]>([
  ['a code that cannot be sent', '', 1006, RangeError],
  ['a code that is not a number', '', '1000', TypeError],
  ['a reason that is too long', 'x'.repeat(124), 1000, RangeError],
  ['a reason that is not a string', 1, 1000, TypeError],
])('a drain at a rate with %s is refused, and nothing is closed', async (_, reason, code, error) => {
  const timed = timedPool(1);
  expect(await refusalOf(timed.pool, 10, reason, code)).toBeInstanceOf(error);
  await expectUndisturbed(timed);
});

const badOptions: [string, unknown, ErrorConstructor][] = [
  ...[0, -1, NaN, Infinity, 1.5].map((rate) => [`maxPerSecond ${rate}`, { maxPerSecond: rate }, RangeError]),
  ['maxPerSecond of text', { maxPerSecond: '10' }, TypeError],
  ['maxPerSecond null', { maxPerSecond: null }, TypeError],
  ...[0, -1, NaN, Infinity, 2 ** 31].map((deadline) => [`deadline ${deadline}`, { deadline }, RangeError]),
  ['deadline of text', { deadline: '10' }, TypeError],
  ['both maxPerSecond and deadline', { maxPerSecond: 10, deadline: 1_000 }, TypeError],
  ...[0, -1, NaN, Infinity, 1_001].map((interval) => [`interval ${interval}`, { interval }, RangeError]),
  ['interval of text', { interval: '100' }, TypeError],
  ...[-0.1, 1.1, NaN].map((jitter) => [`jitter ${jitter}`, { jitter }, RangeError]),
  ['jitter true', { jitter: true }, TypeError],
  ...[0, -1, NaN, Infinity].map((grace) => [`grace ${grace}`, { grace }, RangeError]),
  ['grace of text', { grace: '1' }, TypeError],
  ['code 1006', { code: 1006 }, RangeError],
  ['code 999', { code: 999 }, RangeError],
  ['a code of text', { code: '1000' }, TypeError],
  ['a reason of 124 bytes', { reason: 'x'.repeat(124) }, RangeError],
  ['a reason that is not text', { reason: 1 }, TypeError],
  ['a signal that is not an AbortSignal', { signal: {} }, TypeError],
  ['an onProgress that is not a function', { onProgress: 'log' }, TypeError],
  ['null instead of options', null, TypeError],
] as [string, unknown, ErrorConstructor][];

test.each(badOptions)('a drain with %s is refused, and nothing is closed', async (_, options, error) => {
  const timed = timedPool(2);
  const refusal = await refusalOf(timed.pool, options);
  expect(refusal).toBeInstanceOf(error);
  for (const name of Object.keys(options ?? { maxPerSecond: null })) {
    expect(refusal.message).toMatch(new RegExp(`^Expected .*${name}.*, got `));
  }
  await expectUndisturbed(timed);
});

test('an unknown option of a drain is refused, and the error names the valid ones', async () => {
  // A typing error in JavaScript, `{ maxPerSec: 5 }`, drained at the default of 1,000 per second.
  const timed = timedPool(2);
  const refusal = await refusalOf(timed.pool, { maxPerSec: 5 });
  expect(refusal).toBeInstanceOf(TypeError);
  expect(refusal.message).toBe(
    'Unknown option `maxPerSec` in the drain options. Valid options: ' +
      'maxPerSecond, deadline, interval, jitter, code, reason, grace, signal, onProgress, sockets',
  );
  await expectUndisturbed(timed);
});

test.each([5, 'sockets', null, {}])('the sockets of a drain must be an iterable, not %o', async (sockets) => {
  const running = timedPool(2);
  const error = await refusalOf(running.pool, { sockets });
  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toContain('Expected sockets to be an iterable of sockets, got');
  await expectUndisturbed(running);
});
