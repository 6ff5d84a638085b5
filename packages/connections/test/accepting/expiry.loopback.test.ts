import { expect, test, vi } from 'vitest';
import { anybody, openClient, startAccepting } from '../support/accepting.js';
import { failOnUncaught } from '../support/no-uncaught.js';

failOnUncaught();

test('a connection is closed with 4401 when the session of its client ends', async () => {
  const { url } = await startAccepting({
    accept: { authenticate: () => ({ ...anybody(), expiresAt: Date.now() + 300 }) },
  });
  const startedAt = Date.now();
  const client = await openClient(url);
  expect(await client.closed).toEqual({ code: 4401, reason: 'Session expired' });
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(295);
});

test.each([
  ['in forty days', Date.now() + 40 * 86_400_000],
  ['in a thousand years', Date.now() + 3e13],
  ['never', Infinity],
])('a connection stays open if its session ends %s', async (_, expiresAt) => {
  // A timer of more than 2^31 - 1 ms fires after 1 ms.
  const { url } = await startAccepting({
    accept: { authenticate: () => ({ ...anybody(), expiresAt }) },
  });
  const warned = vi.fn();
  process.on('warning', warned);
  const client = await openClient(url);
  await new Promise((resolve) => setTimeout(resolve, 250));
  await client.roundTrip();
  process.off('warning', warned);
  expect(warned).not.toHaveBeenCalled();
});
