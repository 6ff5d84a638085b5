import net from 'node:net';
import { expect, test } from 'vitest';
import { onTestFinished } from '../support/on-test-finished.js';
import { Program } from '../support/program.js';
import { upgradeRequest } from '../support/raw-client.js';
import type { Memory } from '../support/stalled-readers-server.js';

const READERS = 12;
const BOUND_BYTES = 1024 * 1024;
/** Enough to go far beyond the bound if only their 3 bytes each were counted. */
const MAX_MESSAGES = 20_000;

// A single stalled reader kept 2.4 GB of messages of one character before their bytes reached a bound of 16 MiB.
test('twelve stalled readers of one-character messages keep at most 1.5 times their bounds in memory', async () => {
  const args = [READERS, BOUND_BYTES, MAX_MESSAGES].map(String);
  const program = new Program('stalled-readers-server', ...args);
  const port = (await program.message()) as number;
  const measured = program.message();
  for (let i = 0; i < READERS; i++) {
    const client = net.connect(port, '127.0.0.1').pause();
    client.on('error', () => undefined);
    onTestFinished(() => void client.destroy());
    client.write(upgradeRequest());
  }
  const { waiting, slowReaders, grownBytes } = (await measured) as Memory;
  expect(grownBytes / (READERS * BOUND_BYTES)).toBeLessThanOrEqual(1.5);
  expect(slowReaders).toBe(READERS);
  // The bound is not reached long before that much memory is used.
  expect(waiting / READERS).toBeGreaterThan(BOUND_BYTES / 500);
});
