import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';

test('sendThenClose and its variants of a pool resolve false when nobody has the id', async () => {
  const pool = new ConnectionsPool();
  expect(await pool.sendThenClose('default', 'nobody', 'x')).toBe(false);
  expect(await pool.sendJsonThenClose('default', 'nobody', {})).toBe(false);
  expect(await pool.sendErrorThenClose('default', 'nobody', 'x')).toBe(false);
});
