import { once } from 'node:events';
import { expect, test } from 'vitest';
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

test.each(['x'.repeat(123), `${'é'.repeat(61)}x`, ''])(
  'a close reason of at most 123 bytes arrives: %j',
  async (reason) => {
    const { client, connection } = await (await Loopback.start()).connect('1');
    await connection.close(1000, reason);
    expect(await client.closed).toEqual({ code: 1000, reason });
  },
);

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
