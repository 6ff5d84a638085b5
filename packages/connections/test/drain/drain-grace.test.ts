import { expect, test, vi } from 'vitest';
import { Connection, ConnectionsPool } from '../../src/index.js';
import { useFakeClock } from '../support/fake-clock.js';
import { MemorySocket } from '../support/memory-socket.js';
import { TimedSocket, StubbornConnection, timedPool, runDrain } from '../support/timed-pool.js';

useFakeClock();

test('a drain terminates connections that do not answer their close frame within the grace period', async () => {
  const { pool, sockets } = timedPool(4, { newSocket: () => new TimedSocket(false) });
  const report = await runDrain(pool.drainConnections({ grace: 700 }), 10_000);
  expect(report).toMatchObject({ closed: 0, terminated: 4, left: 0 });
  for (const { closedAtMs, terminatedAtMs } of sockets) {
    expect(terminatedAtMs! - closedAtMs!).toBeGreaterThanOrEqual(700);
    expect(terminatedAtMs! - closedAtMs!).toBeLessThanOrEqual(1_000);
  }
});

test('the grace period of a drain is the closeTimeout of the pool by default', async () => {
  const pool = new ConnectionsPool({ closeTimeout: 2_000 });
  const socket = new TimedSocket(false);
  await pool.newConnection(new Connection('1', 'default', socket));
  const report = await runDrain(pool.drainConnections({}), 10_000);
  expect(report).toMatchObject({ terminated: 1 });
  expect(socket.terminatedAtMs! - socket.closedAtMs!).toBeGreaterThanOrEqual(2_000);
  expect(socket.terminatedAtMs! - socket.closedAtMs!).toBeLessThanOrEqual(2_300);
});

test('the grace period of each connection begins with its own turn', async () => {
  const { pool, sockets } = timedPool(3, { newSocket: () => new TimedSocket(false) });
  await runDrain(pool.drainConnections({ maxPerSecond: 1, grace: 1_500 }), 20_000);
  for (const { closedAtMs, terminatedAtMs } of sockets) {
    expect(terminatedAtMs! - closedAtMs!).toBeGreaterThanOrEqual(1_500);
    expect(terminatedAtMs! - closedAtMs!).toBeLessThanOrEqual(1_800);
  }
});

test('a connection whose overridden close does nothing is terminated a second after the grace period', async () => {
  const pool = new ConnectionsPool<string, StubbornConnection>();
  await pool.newConnection(new StubbornConnection('1', 'default', new TimedSocket()));
  const report = await runDrain(pool.drainConnections({ grace: 700 }), 10_000);
  expect(report).toMatchObject({ closed: 0, terminated: 1, left: 0 });
  // The second is for a `close` that does something first. It is noticed within about 100 ms.
  expect(report!.tookMs).toBeGreaterThanOrEqual(1_700);
  expect(report!.tookMs).toBeLessThanOrEqual(1_900);
});

test('a connection whose overridden close never settles does not hold up a drain with a rate alone', async () => {
  const pool = new ConnectionsPool<string, StubbornConnection>({ closeTimeout: 200 });
  await pool.newConnection(new StubbornConnection('1', 'default', new MemorySocket()));
  const drained = pool.drainConnections();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await drained).toMatchObject({ closed: 0, terminated: 1, left: 0 });
});
