import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hasSignals } from '../../connections/test/support/requires.js';
import { ChatClient } from './support/chat-client.js';
import { Demo, TIMEOUT_MS } from './support/demo.js';

describe.skipIf(!hasSignals)('the end of the demo', { timeout: TIMEOUT_MS }, () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s to all processes drains all nodes, ends with status 0 and leaves no process',
    async (signal) => {
      const demo = await Demo.start();
      onTestFinished(() => demo.kill());
      await demo.order({ do: 'bots', count: 10 });
      await demo.until(({ bots }) => bots.open === 10);
      const client = await ChatClient.join(demo.url, 'Ada');
      demo.signal(signal);
      expect(await client.closed).toEqual({ code: 1012, reason: 'The server restarts' });
      expect(await demo.ended).toBe(0);
      await expect.poll(() => demo.isAlive).toBe(false);
    },
  );

  test('Ctrl-C during a restart leaves no process', async () => {
    const demo = await Demo.start({ DRAIN_PER_SECOND: '1', NODES: '2' });
    onTestFinished(() => demo.kill());
    await demo.order({ do: 'bots', count: 20 });
    await demo.until(({ bots }) => bots.open === 20);
    await demo.order({ do: 'restart', node: 2, allAtOnce: false });
    await demo.until(({ nodes }) => nodes[1]!.state === 'draining');
    demo.signal('SIGINT');
    await demo.ended;
    await expect.poll(() => demo.isAlive).toBe(false);
  });

  test('a second signal ends all processes at once', async () => {
    const demo = await Demo.start({ DRAIN_PER_SECOND: '1', NODES: '2' });
    onTestFinished(() => demo.kill());
    const clients = [await ChatClient.join(demo.url, 'Ada'), await ChatClient.join(demo.url, 'Bob')];
    for (const { socket } of clients) socket.pause();
    demo.process.kill('SIGTERM');
    // Until then the nodes wait for their clients, which do not answer.
    await expect.poll(() => demo.state()).toBeUndefined();
    demo.process.kill('SIGINT');
    expect(await demo.ended).toBe(128 + 2);
    await expect.poll(() => demo.isAlive).toBe(false);
  });

  test('the nodes end when the primary is killed', async () => {
    const demo = await Demo.start({ NODES: '2' });
    onTestFinished(() => demo.kill());
    await demo.order({ do: 'bots', count: 1 });
    await demo.until(({ bots }) => bots.open === 1);
    demo.process.kill('SIGKILL');
    await expect.poll(() => demo.isAlive).toBe(false);
  });

  test('a port that is taken ends all processes, with the reason once', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void taken.close());
    await once(taken, 'listening');
    const demo = new Demo({ PORT: String((taken.address() as AddressInfo).port) });
    onTestFinished(() => demo.kill());
    expect(await demo.ended).toBe(1);
    expect(demo.stderr.match(/EADDRINUSE/g)).toHaveLength(1);
    await expect.poll(() => demo.isAlive).toBe(false);
  });
});
