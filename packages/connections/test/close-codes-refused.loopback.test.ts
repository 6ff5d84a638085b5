import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { Loopback } from './support/loopback.js';

const READY_STATE_OPEN = 1;

const tooLong = 'é'.repeat(62);
const refused: readonly [name: string, code: number, reason: string][] = [
  ['the code 0', 0, ''],
  ['the code 999', 999, ''],
  ['the reserved code 1004', 1004, ''],
  ['the code 1005', 1005, ''],
  ['the code 1006', 1006, ''],
  ['the code 1015', 1015, ''],
  ['the code 2999', 2999, ''],
  ['the code 5000', 5000, ''],
  ['the code NaN', NaN, ''],
  ['a code that is a fraction', 1000.5, ''],
  ['a reason of 124 bytes in 62 characters', 1000, tooLong],
  ['a reason of 124 characters', 4000, 'x'.repeat(124)],
];

test.each(refused)(
  'a close with %s is refused and leaves the connection as it was',
  async (_name, code, reason) => {
    // `ws` 8.21 checks these after it has set its state to closing: such a socket never closes and never sends
    // again. The original passed everything on.
    const loopback = await Loopback.start();
    const pool = new ConnectionsPool();
    const { client, connection, socket } = await loopback.connect('1');
    await pool.newConnection(connection);
    const calls = [
      connection.close(code, reason),
      connection.sendThenClose('x', code, reason),
      connection.sendJsonThenClose('x', code, reason),
      connection.sendErrorThenClose('x', code, reason),
      connection.sendError('x', code, reason),
      pool.close('default', '1', code, reason),
      pool.closeAll('default', code, reason),
      pool.sendThenClose('default', '1', 'x', code, reason),
      pool.sendJsonThenClose('default', '1', 'x', code, reason),
      pool.sendErrorThenClose('default', '1', 'x', code, reason),
      pool.sendError('default', '1', 'x', code, reason),
      pool.broadcastError('default', 'x', code, reason),
      pool.drainConnections(10, reason, code),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(RangeError) as RangeError });
    }
    expect(socket.readyState).toBe(READY_STATE_OPEN);
    expect(connection.closed).toBe(false);
    expect(pool.draining).toBe(false);
    expect(pool.getConnection('default', '1')).toBe(connection);

    await expect(connection.send('still fine')).resolves.toBe(true);
    expect(await client.exactly(1)).toEqual(['still fine']);
    await connection.close(4000, 'x'.repeat(123));
    expect(await client.closed).toEqual({ code: 4000, reason: 'x'.repeat(123) });
  },
);
