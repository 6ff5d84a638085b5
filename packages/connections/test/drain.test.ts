import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, ConnectionsPool, type DrainReport } from '../src/index.js';
import { noteClosing } from './support/closing-time.js';
import { useFakeClock } from './support/fake-clock.js';
import { Loopback } from './support/loopback.js';
import { MemorySocket } from './support/memory-socket.js';
import { connectMute } from './support/raw-client.js';
import { watchUnhandled } from './support/unhandled.js';

/** A pool with `count` real clients, in turn in each of the namespaces. */
async function poolOf(
  count: number,
  namespaces: readonly string[] = ['default'],
  pool = new ConnectionsPool(),
) {
  const loopback = await Loopback.start();
  const members: Awaited<ReturnType<Loopback['connect']>>[] = [];
  for (let index = 0; index < count; index++) {
    const member = await loopback.connect(String(index), namespaces[index % namespaces.length]);
    await pool.newConnection(member.connection);
    members.push(member);
  }
  return { loopback, pool, members };
}

function sumOf({ closed, terminated, left }: DrainReport): number {
  return closed + terminated + left;
}

/** Least time in ms in which one more than `rate` of these instants lie. */
function tightestWindowMs(instantsMs: readonly number[], rate: number): number {
  const sorted = instantsMs.toSorted((a, b) => a - b);
  return Math.min(...sorted.slice(rate).map((atMs, index) => atMs - (sorted[index] as number)));
}

describe('on real sockets', () => {
  // The original closed each namespace on its own and all at the same instant.
  test('no more than the rate close within any second, over all namespaces', async () => {
    const rate = 5;
    const { pool, members } = await poolOf(15, ['one', 'two']);
    const closingTimes = members.map(({ socket }) => noteClosing(socket));
    const report = await pool.drainConnections(rate);
    const closes = await Promise.all(members.map(({ client }) => client.closed));

    expect(tightestWindowMs(await Promise.all(closingTimes), rate)).toBeGreaterThanOrEqual(1_000);
    expect(new Set(closes.map(({ code, reason }) => `${code} ${reason}`))).toEqual(new Set(['1012 ']));
    expect(report).toMatchObject({ closed: 15, terminated: 0, left: 0 });
    expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
    expect(pool.connections.size).toBe(0);
  });

  test('code and reason reach every client', async () => {
    const { pool, members } = await poolOf(3, ['one', 'two']);
    await pool.drainConnections(10, 'Closed by the server.', 1000);
    for (const { client } of members) {
      expect(await client.closed).toEqual({ code: 1000, reason: 'Closed by the server.' });
    }
  });

  test('what was sent before the drain arrives before the close', async () => {
    const { pool, members } = await poolOf(2);
    const [one] = members;
    void one!.connection.send('private');
    void pool.broadcastMessage('default', 'to all');
    await pool.drainConnections();
    await Promise.all(members.map(({ client }) => client.closed));
    expect(members.map(({ client }) => client.inbox)).toEqual([['private', 'to all'], ['to all']]);
  });

  test('the pool is draining from the first instant, and stays so', async () => {
    const { pool } = await poolOf(1);
    expect(pool.draining).toBe(false);
    const drained = pool.drainConnections();
    expect(pool.draining).toBe(true);
    await drained;
    expect(pool.draining).toBe(true);
  });

  // Newcomers were let in and never closed; and the refusal, which no upgrade handler awaits, ended the process.
  test('newcomers are refused with 1013, also when nobody awaits the refusal', async () => {
    const unhandled = watchUnhandled();
    const { loopback, pool } = await poolOf(1);
    const [awaited, unawaited] = [await loopback.connect('awaited'), await loopback.connect('unawaited')];
    const drained = pool.drainConnections();

    void pool.newConnection(unawaited.connection);
    await expect(pool.newConnection(awaited.connection)).rejects.toMatchObject({
      name: 'ConnectionsError',
      code: 'ERR_POOL_DRAINING',
    });
    await drained;
    const late = await loopback.connect('late');
    void pool.newConnection(late.connection);

    for (const { client, connection } of [awaited, unawaited, late]) {
      expect((await client.closed).code).toBe(1013);
      expect(pool.getConnection('default', connection.id)).toBeUndefined();
    }
    expect(await unhandled.settle()).toEqual([]);
  });

  test('clients that leave meanwhile shorten the plan', async () => {
    const { pool, members } = await poolOf(12);
    const [first, ...others] = members;
    const drained = pool.drainConnections(1);
    await first!.client.closed;
    for (const { client } of others) client.socket.close(1000);
    // Had they not left, it would take longer than a test may.
    expect(await drained).toMatchObject({ closed: 1, terminated: 0, left: 11 });
  });

  test('clients that never answer are terminated after the grace period, and counted', async () => {
    const { loopback, pool } = await poolOf(2, ['default'], new ConnectionsPool({ closeTimeout: 100 }));
    const mutes = [await connectMute(loopback), await connectMute(loopback)];
    const closes: unknown[] = [];
    for (const [index, { socket }] of mutes.entries()) {
      const connection = new Connection(`mute ${index}`, 'default', socket);
      connection.on('close', (code) => closes.push(code));
      await pool.newConnection(connection);
    }
    const report = await pool.drainConnections();
    expect(report).toMatchObject({ closed: 2, terminated: 2, left: 0 });
    expect(closes).toEqual([1006, 1006]);
    expect(pool.stats()).toMatchObject({ connections: 0, namespaces: 0, terminated: 2 });
  });

  test('a client that resets instead of answering is closed, not lost from the report', async () => {
    const { loopback, pool } = await poolOf(1);
    const { client, socket } = await connectMute(loopback);
    await pool.newConnection(new Connection('reset', 'default', socket));
    const drained = pool.drainConnections();
    client.resetAndDestroy();
    const report = await drained;
    expect(report).toMatchObject({ terminated: 0 });
    expect(sumOf(report)).toBe(2);
  });

  test('the promise resolves when the last socket has closed, not before', async () => {
    const { loopback, pool, members } = await poolOf(3);
    const [slow] = members;
    slow!.client.socket.pause();
    let report: DrainReport | undefined;
    const drained = pool.drainConnections().then((result) => (report = result));

    for (const { client } of members.slice(1)) await client.closed;
    await (await loopback.pair()).client.roundTrip();
    expect(report).toBeUndefined();

    slow!.client.socket.resume();
    await drained;
    expect(members.map(({ socket }) => socket.readyState)).toEqual(members.map(() => WebSocket.CLOSED));
    expect(report).toMatchObject({ closed: 3 });
  });

  test('the drain event carries the report', async () => {
    const { pool } = await poolOf(1);
    const event = once(pool, 'drain');
    const report = await pool.drainConnections();
    expect(await event).toEqual([report]);
  });

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
  ])('a rate of %s is refused, and nothing is closed', async (rate, error) => {
    const { loopback, pool, members } = await poolOf(1);
    await expect(pool.drainConnections(rate as number)).rejects.toThrow(error);
    await expectUndisturbed(pool, loopback, members[0]!);
  });

  test.each<[string, unknown, unknown, ErrorConstructor]>([
    ['a code that cannot be sent', '', 1006, RangeError],
    ['a code that is no number', '', '1000', TypeError],
    ['a reason that is too long', 'x'.repeat(124), 1000, RangeError],
    ['a reason that is no string', 1, 1000, TypeError],
  ])('%s is refused, and nothing is closed', async (_, reason, code, error) => {
    const { loopback, pool, members } = await poolOf(1);
    await expect(pool.drainConnections(10, reason as string, code as number)).rejects.toThrow(error);
    await expectUndisturbed(pool, loopback, members[0]!);
  });

  async function expectUndisturbed(
    pool: ConnectionsPool,
    loopback: Loopback,
    { client, connection }: Awaited<ReturnType<Loopback['connect']>>,
  ): Promise<void> {
    expect(pool.draining).toBe(false);
    expect(connection.closed).toBe(false);
    await pool.newConnection((await loopback.connect('newcomer')).connection);
    expect(await pool.broadcastMessage('default', 'x')).toMatchObject({ recipients: 2, sent: 2 });
    expect(await client.exactly(1)).toEqual(['x']);
  }

  test('a second drain is refused while one is running, and disturbs it in nothing', async () => {
    const { pool, members } = await poolOf(2);
    const drained = pool.drainConnections(10, 'first', 4000);
    await expect(pool.drainConnections(10, 'second', 4001)).rejects.toMatchObject({
      code: 'ERR_POOL_DRAINING',
    });
    expect(await drained).toMatchObject({ closed: 2 });
    for (const { client } of members) expect(await client.closed).toEqual({ code: 4000, reason: 'first' });

    expect(await pool.drainConnections()).toMatchObject({ closed: 0, terminated: 0, left: 0 });
  });
});

describe('by a fake clock', () => {
  /** Notes when it was asked to close. */
  class TimedSocket extends MemorySocket {
    closedAtMs: number | undefined;

    override close(code?: number, reason?: string): void {
      this.closedAtMs = performance.now();
      super.close(code, reason);
    }
  }

  useFakeClock();

  function poolOfTimed(count: number, namespaces: number) {
    const pool = new ConnectionsPool();
    const sockets = Array.from({ length: count }, (_, index) => {
      const socket = new TimedSocket();
      void pool.newConnection(new Connection(String(index), `n${index % namespaces}`, socket));
      return socket;
    });
    const closed = (): number => sockets.filter(({ closedAtMs }) => closedAtMs !== undefined).length;
    return { pool, sockets, closed };
  }

  test('25 connections at 10 per second: 10 now, 10 after a second, 5 after two', async () => {
    const { pool, sockets, closed } = poolOfTimed(25, 3);
    const drained = pool.drainConnections(10);
    expect(closed()).toBe(10);
    await vi.advanceTimersByTimeAsync(999);
    expect(closed()).toBe(10);
    await vi.advanceTimersByTimeAsync(101);
    expect(closed()).toBe(20);
    await vi.advanceTimersByTimeAsync(899);
    expect(closed()).toBe(20);
    await vi.advanceTimersByTimeAsync(201);
    expect(closed()).toBe(25);

    const report = await drained;
    expect(report).toMatchObject({ closed: 25, terminated: 0, left: 0 });
    expect(report.tookMs).toBeGreaterThanOrEqual(2_000);
    expect(report.tookMs).toBeLessThan(2_200);
    expect(
      tightestWindowMs(
        sockets.map(({ closedAtMs }) => closedAtMs!),
        10,
      ),
    ).toBeGreaterThanOrEqual(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    [1, 1, 1],
    [10, 10, 1],
    [11, 10, 2],
    [20, 10, 2],
    [3, 1, 3],
    [1000, 1000, 1],
  ])('%i connections at %i per second leave in %i batches', async (count, rate, batches) => {
    const { pool, sockets } = poolOfTimed(count, 7);
    const drained = pool.drainConnections(rate);
    await vi.runAllTimersAsync();
    await drained;
    const instants = new Set(sockets.map(({ closedAtMs }) => closedAtMs));
    expect(instants.size).toBe(batches);
  });

  test('those that leave while a batch is awaited make room for those behind them', async () => {
    const { pool, sockets, closed } = poolOfTimed(30, 2);
    const drained = pool.drainConnections(10);
    const waiting = sockets.filter(({ closedAtMs }) => closedAtMs === undefined);
    for (const socket of waiting.slice(0, 10)) socket.end(1001);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(closed()).toBe(20);
    const report = await drained;
    expect(report).toMatchObject({ closed: 20, terminated: 0, left: 10 });
    expect(report.tookMs).toBeLessThan(1_100);
  });

  test('it ends with the last connection, without waiting for the next batch', async () => {
    const { pool, sockets } = poolOfTimed(20, 1);
    const drained = pool.drainConnections(10);
    await vi.advanceTimersByTimeAsync(10);
    for (const socket of sockets) socket.end(1001);
    const report = await drained;
    expect(report).toMatchObject({ closed: 10, terminated: 0, left: 10 });
    expect(report.tookMs).toBeLessThan(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('while the last answers are awaited it wakes up no more than once a second', async () => {
    const pool = new ConnectionsPool();
    await pool.newConnection(new Connection('1', 'default', new MemorySocket(false)));
    const setTimer = vi.spyOn(globalThis, 'setTimeout');
    const drained = pool.drainConnections(10);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(setTimer.mock.calls.length).toBeLessThanOrEqual(10);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await drained).toMatchObject({ terminated: 1 });
  });

  test('those that are closing already are counted as left, and cost nothing of the rate', async () => {
    const { pool, sockets } = poolOfTimed(3, 1);
    // As when a peer has begun: its close event is still to come.
    for (const socket of sockets.slice(0, 2)) socket.readyState = 2;
    const drained = pool.drainConnections(1);
    expect(sockets.map(({ closes }) => closes.length)).toEqual([0, 0, 1]);
    for (const socket of sockets.slice(0, 2)) socket.end(4000);
    expect(await drained).toMatchObject({ closed: 1, terminated: 0, left: 2 });
  });

  test('an empty pool is drained at once', async () => {
    const pool = new ConnectionsPool();
    expect(await pool.drainConnections()).toMatchObject({ closed: 0, terminated: 0, left: 0, tookMs: 0 });
    expect(pool.draining).toBe(true);
  });

  test('a subclass whose close never settles does not hold up the drain', async () => {
    class Stubborn extends Connection {
      override close(): Promise<void> {
        return new Promise(() => undefined);
      }
    }
    const pool = new ConnectionsPool<string, Stubborn>({ closeTimeout: 200 });
    await pool.newConnection(new Stubborn('1', 'default', new MemorySocket()));
    const drained = pool.drainConnections();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await drained).toMatchObject({ closed: 0, terminated: 1, left: 0 });
  });
});
