import { describe, expect, test, vi } from 'vitest';
import { Expiry } from '../../src/accepting/expiry.js';
import { ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { connectInMemory } from '../support/memory-socket.js';

const DAY_MS = 86_400_000;
/** A timer of more than 2^31 - 1 ms, about 24.8 days, would fire at once. */
const LONG_MS = 40 * DAY_MS;

describe('the end of a session', () => {
  useFakeClock();

  /** A clock on the wall that the test sets. */
  function setClock(ms: number): void {
    vi.spyOn(Date, 'now').mockReturnValue(ms);
  }

  test('the end of a session is noticed at its time by the clock, and not before', async () => {
    setClock(0);
    const { connection, socket } = connectInMemory('a');
    new Expiry(connection, LONG_MS);
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    setClock(LONG_MS - 1_000);
    await vi.advanceTimersByTimeAsync(60_200);
    expect(socket.closes).toEqual([]);
    setClock(LONG_MS);
    await vi.advanceTimersByTimeAsync(1_200);
    expect(socket.closes).toEqual([{ code: 4401, reason: 'Session expired' }]);
  });

  test('the end of a session is noticed within a minute if the clock was set or the machine slept', async () => {
    setClock(0);
    const { connection, socket } = connectInMemory('a');
    new Expiry(connection, DAY_MS);
    setClock(2 * DAY_MS);
    await vi.advanceTimersByTimeAsync(60_200);
    expect(socket.closes).toHaveLength(1);
  });

  test('the end of a session has no effect once it is cancelled', async () => {
    setClock(0);
    const { connection, socket } = connectInMemory('a');
    const expiry = new Expiry(connection, 1_000);
    expiry.cancel();
    setClock(2_000);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(socket.closes).toEqual([]);
  });

  test('the end of a session causes an error event if an overridden close fails', async () => {
    setClock(0);
    const pool = new ConnectionsPool();
    const errors: Error[] = [];
    pool.on('error', (error) => errors.push(error));
    const { connection } = connectInMemory('a');
    connection.close = () => Promise.reject(new Error('broken'));
    void pool.newConnection(connection);
    new Expiry(connection, 500);
    setClock(600);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(errors).toMatchObject([{ message: 'broken' }]);
  });
});
