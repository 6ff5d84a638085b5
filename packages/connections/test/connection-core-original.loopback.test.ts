import { expect, test } from 'vitest';
import { Loopback } from './support/loopback.js';

test('an error that ends a connection reaches the client before the one close', async () => {
  // The original closed twice: through `sendError`, and then by itself with other arguments.
  const loopback = await Loopback.start();
  const { client, connection } = await loopback.connect('1');
  const sent = connection.sendErrorThenClose({ error: 'quota' }, 4001, 'Quota');
  expect(await client.next()).toBe('{"error":"quota"}');
  expect(await client.closed).toEqual({ code: 4001, reason: 'Quota' });
  await expect(sent).resolves.toBe(true);
});
