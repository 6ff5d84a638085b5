import { once } from 'node:events';
import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';
import { hostileStrings, wellFormed } from './support/hostile-strings.js';
import { Loopback } from './support/loopback.js';

test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
  'close code %i arrives at the client with its reason',
  async (code) => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    const closed = once(connection, 'close');
    await connection.close(code, 'why');
    expect(await client.closed).toEqual({ code, reason: 'why' });
    expect(await closed).toEqual([code, 'why']);
  },
);

const tooLong = 'x'.repeat(124);

const refused: [unknown, unknown, ErrorConstructor][] = [
  ...[-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, 1000.5, NaN, Infinity].map(
    (code): [number, string, ErrorConstructor] => [code, '', RangeError],
  ),
  ...['1000', null, 1000n, {}, true].map((code): [unknown, string, ErrorConstructor] => [
    code,
    '',
    TypeError,
  ]),
  ...[null, 1, Buffer.from('x'), {}].map((reason): [number, unknown, ErrorConstructor] => [
    1000,
    reason,
    TypeError,
  ]),
  [1000, tooLong, RangeError],
  [4000, 'é'.repeat(62), RangeError],
];

// `ws` 8.21 marks the socket as closing before it checks the reason: a refused close left the socket stuck for ever.
test.each(refused)('close code %s with reason %j is refused, and the socket still works', async (...args) => {
  const [code, reason, error] = args;
  const { client, connection } = await (await Loopback.start()).connect('1');
  await expect(connection.close(code as number, reason as string)).rejects.toThrow(error);
  await expect(connection.sendThenClose('x', code as number, reason as string)).rejects.toThrow(error);
  await expect(connection.sendError('x', code as number, reason as string)).rejects.toThrow(error);

  expect(connection.closed).toBe(false);
  expect(await connection.send('still here')).toBe(true);
  expect(await client.exactly(1)).toEqual(['still here']);
  await connection.close(4000, 'bye');
  expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
});

test.each(['x'.repeat(123), `${'é'.repeat(61)}x`, ''])('the close reason %j arrives', async (reason) => {
  const { client, connection } = await (await Loopback.start()).connect('1');
  await connection.close(1000, reason);
  expect(await client.closed).toEqual({ code: 1000, reason });
});

test('close() without arguments sends 1000 without a reason', async () => {
  const { client, connection } = await (await Loopback.start()).connect('1');
  await connection.close();
  expect(await client.closed).toEqual({ code: 1000, reason: '' });
});

test.each(hostileStrings.filter(([, text]) => text.length <= 123))(
  '%s is an ordinary close reason',
  async (_title, text) => {
    const loopback = await Loopback.start();
    const { client, connection } = await loopback.connect('1');
    await connection.close(4000, text);
    expect(await client.closed).toEqual({ code: 4000, reason: wellFormed(text) });
  },
);

const READY_STATE_OPEN = 1;

/** Values that every call with a close code and a reason refuses. */
const refusedEverywhere: readonly [name: string, code: number, reason: string][] = [
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
  ['a reason of 124 bytes in 62 characters', 1000, 'é'.repeat(62)],
  ['a reason of 124 characters', 4000, 'x'.repeat(124)],
];

test.each(refusedEverywhere)(
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
