import { expect, test } from 'vitest';
import { freePort } from '../../connections/test/support/free-port.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { ServerProgram } from '../../connections/test/support/server-program.js';
import { ChatClient } from './support/chat-client.js';
import { Demo, TIMEOUT_MS } from './support/demo.js';

/** One demo in each of two terminals, which find each other through the broker. */
async function startTwo(env: NodeJS.ProcessEnv): Promise<readonly [Demo, Demo]> {
  const start = async (): Promise<Demo> => {
    const demo = await Demo.start({ PORT: `${await freePort()}`, NODES: '1', ...env });
    onTestFinished(() => demo.kill());
    return demo;
  };
  const demos = await Promise.all([start(), start()]);
  await Promise.all(demos.map((demo) => demo.until(({ others }) => others.length === 1)));
  return demos;
}

async function expectOneChat([here, there]: readonly [Demo, Demo]): Promise<void> {
  const ada = await ChatClient.join(here.url, 'Ada');
  const bob = await ChatClient.join(there.url, 'Bob');
  expect(ada.node).toMatch(new RegExp(`^node 1 of .+:${new URL(here.url).port}$`));
  expect(ada.node).not.toBe(bob.node);
  await ada.sees('general', ({ Bob }) => Bob === 1);
  expect(await bob.sees('general', ({ Ada }) => Ada === 1)).toEqual({ Ada: 1, Bob: 1 });
  ada.send({ type: 'say', room: 'general', text: 'hello' });
  expect(await bob.next()).toEqual({ type: 'said', room: 'general', from: 'Ada', text: 'hello' });
  const { others } = await here.until(({ others }) => others[0]?.connections === 1);
  expect(others).toEqual([{ name: bob.node, connections: 1, draining: false }]);
  there.process.kill('SIGTERM');
  expect((await bob.closed).code).toBe(1012);
  expect(await there.ended).toBe(0);
  expect(await ada.sees('general', ({ Bob }) => Bob === undefined)).toEqual({ Ada: 1 });
}

describeWith(['redis-server'], 'demos in two terminals on one Redis', () => {
  test(
    'two demos are one chat over Redis, and the users of a demo that ends are gone',
    { timeout: TIMEOUT_MS },
    async () => {
      const port = await freePort();
      const args = ['--bind', '127.0.0.1', '--port', `${port}`, '--save', ''];
      const redis = new ServerProgram('redis-server', args, /Ready to accept connections/);
      await redis.start();
      onTestFinished(() => redis.kill());
      await expectOneChat(await startTwo({ REDIS_URL: `redis://127.0.0.1:${port}` }));
    },
  );
});

describeWith(['nats-server'], 'demos in two terminals on one NATS', () => {
  test(
    'two demos are one chat over NATS, and the users of a demo that ends are gone',
    { timeout: TIMEOUT_MS },
    async () => {
      const port = await freePort();
      const nats = new ServerProgram('nats-server', ['-a', '127.0.0.1', '-p', `${port}`], /Server is ready/);
      await nats.start();
      onTestFinished(() => nats.kill());
      await expectOneChat(await startTwo({ NATS_URL: `127.0.0.1:${port}` }));
    },
  );

  test('a demo whose broker is missing ends with the reason', { timeout: TIMEOUT_MS }, async () => {
    const demo = new Demo({ NATS_URL: `127.0.0.1:${await freePort()}` });
    onTestFinished(() => demo.kill());
    expect(await demo.ended).toBe(1);
    expect(demo.stderr).toMatch(/^NATS_URL: connection refused$/m);
  });
});

test.each([
  [{ REDIS_URL: 'nonsense' }, 'REDIS_URL: Invalid URL'],
  [{ REDIS_URL: 'http://127.0.0.1' }, 'REDIS_URL: Protocol - http:'],
  [{ NATS_URL: '127.0.0.1:99999' }, 'NATS_URL: Invalid URL'],
])('the address %j ends the demo with the reason', { timeout: TIMEOUT_MS }, async (env, reason) => {
  const demo = new Demo(env);
  onTestFinished(() => demo.kill());
  expect(await demo.ended).toBe(1);
  expect(demo.stderr).toMatch(new RegExp(`^${reason}`));
});
