import { expect, test } from 'vitest';
import { useFakeClock } from '../support/fake-clock.js';
import { runs } from '../support/runs.js';
import { timedPool } from '../support/timed-pool.js';

const ROUNDS = runs({ quick: 300, ci: 600 });

useFakeClock();

test('with jitter every order is as likely as any other', async () => {
  const counts = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const { pool, sockets } = timedPool(3);
    let order = '';
    for (const [index, socket] of sockets.entries()) socket.once('close', () => (order += String(index)));
    await pool.drainConnections({ jitter: 0.5 });
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect([...counts.keys()].toSorted()).toEqual(['012', '021', '102', '120', '201', '210']);
  // A sixth of the rounds is expected of each. A lower number than this is more than six standard deviations away.
  const expected = ROUNDS / 6;
  expect(Math.min(...counts.values())).toBeGreaterThan(expected - 6.3 * Math.sqrt((expected * 5) / 6));
});
