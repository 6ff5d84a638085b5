import { describe, expect, test, vi } from 'vitest';
import { ConnectionsPool, type ConnectionsPoolOptions, type SlowDecision } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { slowMember } from '../support/slow-member.js';
import { watchUnhandled } from '../support/unhandled.js';

describe('the gauge of slow readers', () => {
  useFakeClock();

  // A slow reader moved from one pool to another, and caught up there. The second one had never counted it as
  // slow, and counted it out all the same: `slowNow` was -1 for ever.
  test('slowNow is right in both pools when a slow reader moves from one to the other', async () => {
    const options: ConnectionsPoolOptions = { maxBufferedBytes: 100, onSlow: 'drop' };
    const [one, other] = [new ConnectionsPool(options), new ConnectionsPool(options)];
    const slowNow = (): number[] => [one.stats().slowNow, other.stats().slowNow];
    const { connection, socket } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    expect(slowNow()).toEqual([1, 0]);
    await one.removeConnection(connection);
    expect(slowNow()).toEqual([0, 0]);
    await other.newConnection(connection);
    expect(slowNow()).toEqual([0, 1]);
    await other.removeConnection(connection);
    await one.newConnection(connection);
    expect(slowNow()).toEqual([1, 0]);
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(50);
    expect(slowNow()).toEqual([0, 0]);
  });

  test('slowNow is right when a slow reader moves to a pool whose bound it does not exceed', async () => {
    const one = new ConnectionsPool({ maxBufferedBytes: 100, onSlow: 'drop' });
    const other = new ConnectionsPool();
    const { connection } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    await one.removeConnection(connection);
    await other.newConnection(connection);
    await vi.advanceTimersByTimeAsync(50);
    expect([one.stats().slowNow, other.stats().slowNow]).toEqual([0, 0]);
  });

  test('slowNow is right when a slow reader that has moved closes', async () => {
    const options: ConnectionsPoolOptions = { maxBufferedBytes: 100, onSlow: 'drop' };
    const [one, other] = [new ConnectionsPool(options), new ConnectionsPool(options)];
    const { connection } = slowMember(one);
    expect(await connection.send('too much')).toBe(false);
    await one.removeConnection(connection);
    await other.newConnection(connection);
    connection.terminate();
    expect([one.stats().slowNow, other.stats().slowNow]).toEqual([0, 0]);
  });
});

// An async `onSlow` answers with a promise. Whatever that said, the message was silently dropped, and a promise that
// rejected ended the process.
describe('an onSlow that returns a promise', () => {
  test.each([
    ['resolves', () => Promise.resolve('drop'), []],
    ['rejects', () => Promise.reject(new Error('no database')), ['no database']],
  ])(
    'an onSlow whose promise %s is an error, and the connection is closed',
    async (_title, onSlow, reasons) => {
      const { settle } = watchUnhandled();
      const pool = new ConnectionsPool({
        maxBufferedBytes: 100,
        onSlow: onSlow as unknown as () => SlowDecision,
      });
      const errors: Error[] = [];
      pool.on('error', (error) => errors.push(error));
      const { connection, socket } = slowMember(pool);
      expect(await connection.send('too much')).toBe(false);
      expect(await settle()).toEqual([]);
      expect(errors[0]).toBeInstanceOf(TypeError);
      expect(errors[0]?.message).toMatch(/onSlow.*'close', 'drop' or 'send'.*Promise/);
      expect(errors.slice(1).map(({ message }) => message)).toEqual(reasons);
      expect(socket.sent).toEqual([]);
      expect(socket.closes).toEqual([{ code: 1013, reason: 'Slow reader' }]);
    },
  );
});
