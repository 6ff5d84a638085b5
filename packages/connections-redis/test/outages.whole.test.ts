import { describe, expect, test, vi } from 'vitest';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { TcpProxy } from '../../connections/test/support/tcp-proxy.js';
import { LIBRARIES, type ClientOptions, type Library } from './support/clients.js';
import { PoolNode, Traffic, until } from './support/pool-node.js';
import { RedisServer } from './support/redis-server.js';

/*
 * What users of pools see of the faults of a Redis server: one `degraded` and one `recovered` event, losses that are
 * counted, and local deliveries as usual. `faults.whole.test.ts` tests the adapter, with every library.
 */

/** An outage, in ms: longer than messages may wait. */
const OUTAGE_MS = 500;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const NEWEST = LIBRARIES.filter(({ name }) => name === 'redis 6' || name === 'ioredis 6');

describeWith(['redis-server'], 'outages of Redis', () => {
  vi.setConfig({ testTimeout: 60_000 });
  failOnUncaught();

  describe.concurrent.each(NEWEST)('$name', (library) => {
    const { name } = library;

    async function startServer(): Promise<RedisServer> {
      const server = await RedisServer.start();
      onTestFinished(() => server.stop());
      return server;
    }
    const startNodes = (options: ClientOptions) =>
      Promise.all([PoolNode.start(library, options), PoolNode.start(library, options)]);

    test(`pools degrade and recover once when Redis is killed and started again: ${name}`, async () => {
      const server = await startServer();
      const [one, other] = await startNodes(server);
      const traffic = await Traffic.between(one, other);
      await server.kill();
      for (const node of [one, other]) await node.untilDegraded();
      await sleep(OUTAGE_MS);
      await server.start();
      for (const node of [one, other]) await node.untilRecovered();
      expect(await traffic.end()).toBeGreaterThan(0);
      expect([one.falls, other.falls]).toEqual([
        [1, 1],
        [1, 1],
      ]);
      expect(one.degraded[0]!.stage).toBe('connect');
      expect(one.recovered[0]!.dropped).toBeGreaterThan(0);
    });

    test.each(['pubsub', 'normal'])(
      `pools degrade and recover once after CLIENT KILL TYPE %s: ${name}`,
      async (type) => {
        const server = await startServer();
        const [one, other] = await startNodes(server);
        const traffic = await Traffic.between(one, other);
        await server.command('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
        for (const node of [one, other]) await node.untilRecovered();
        await traffic.end();
        expect([one.falls, other.falls]).toEqual([
          [1, 1],
          [1, 1],
        ]);
      },
    );

    test(`pools degrade and recover once when their ACL is revoked and granted again: ${name}`, async () => {
      const server = await startServer();
      await server.command('ACL', 'SETUSER', 'chat', 'on', '>secret', 'resetchannels', '&soketi:*', '+@all');
      const [one, other] = await startNodes({ port: server.port, username: 'chat', password: 'secret' });
      const traffic = await Traffic.between(one, other);
      await server.command('ACL', 'SETUSER', 'chat', 'resetchannels');
      for (const node of [one, other]) await node.untilDegraded();
      await sleep(OUTAGE_MS);
      await server.command('ACL', 'SETUSER', 'chat', '&soketi:*');
      for (const node of [one, other]) await node.untilRecovered();
      expect(await traffic.end()).toBeGreaterThan(0);
      expect([one.falls, other.falls]).toEqual([
        [1, 1],
        [1, 1],
      ]);
    });

    test(`a pool whose link is half open degrades and recovers once, and the other pool does not: ${name}`, async () => {
      const server = await startServer();
      const proxy = await TcpProxy.start(server.port);
      onTestFinished(() => proxy.stop());
      const one = await PoolNode.start(library, { port: server.port });
      const other = await PoolNode.start(library, { port: server.port }, { receiver: { port: proxy.port } });
      const traffic = await Traffic.between(one, other);
      proxy.swallow();
      await other.untilRecovered();
      expect(await traffic.end()).toBeGreaterThan(0);
      expect([one.falls, other.falls]).toEqual([
        [0, 0],
        [1, 1],
      ]);
      expect(other.degraded[0]!.stage).toBe('receive');
    });

    test(`a pool whose subscriber Redis disconnects because its buffer is full degrades and recovers once: ${name}`, async () => {
      const server = await startServer();
      await server.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 1mb 1mb 1');
      const [one, other] = await startNodes(server);
      const traffic = await Traffic.between(one, other);
      const large = await other.join('there', 'large');
      void one.pool.broadcastMessage('large', 'before it');
      await until(() => large.sent.includes('before it'));
      void one.pool.broadcastMessage('large', Buffer.alloc(4 * 1024 * 1024));
      await other.untilRecovered();
      // On a busy machine a message may wait for longer than maxQueuedMs.
      await until(() => {
        void one.pool.broadcastMessage('large', 'after it');
        return large.sent.includes('after it');
      });
      await traffic.end();
      expect(other.pool.cluster.stats().gaps).toBeGreaterThan(0);
      expect([one.falls, other.falls]).toEqual([
        [0, 0],
        [1, 1],
      ]);
    });

    test(`a Redis that sleeps delays messages and loses none: ${name}`, async () => {
      const server = await startServer();
      const [one, other] = await startNodes(server);
      const traffic = await Traffic.between(one, other);
      await server.command('DEBUG', 'SLEEP', '1');
      expect(await traffic.end()).toBe(0);
      expect([one.falls, other.falls]).toEqual([
        [0, 0],
        [0, 0],
      ]);
    });
  });

  test('10,000 namespaces are subscribed to with 20 commands, and again after an outage', async () => {
    const server = await RedisServer.start();
    onTestFinished(() => server.stop());
    const [library] = NEWEST as [Library];
    const one = await PoolNode.start(library, server, { maxQueuedMs: 30_000 });
    const other = await PoolNode.start(library, server);
    for (const node of [one, other]) await node.untilUp();
    const names = Array.from({ length: 10_000 }, (_, index) => `n${index}`);
    const sockets = await Promise.all(names.map((namespace) => other.join('1', namespace)));
    expect(await subscribes(server)).toBeLessThanOrEqual(20 + 2 * OWN_SUBSCRIBES);
    await server.kill();
    for (const node of [one, other]) await node.untilDegraded();
    await server.start();
    for (const node of [one, other]) await node.untilRecovered();
    expect(await subscribes(server)).toBeLessThanOrEqual(20 + 2 * OWN_SUBSCRIBES);
    for (const namespace of names) void one.pool.broadcastMessage(namespace, namespace);
    await until(() => sockets.every(({ sent }) => sent.length > 0));
    expect(sockets.map(({ sent }) => sent)).toEqual(names.map((namespace) => [namespace]));
    expect(one.pool.cluster.stats().dropped).toBe(0);
  });
});

/** A node subscribes to two channels of its own, in one command or two. */
const OWN_SUBSCRIBES = 2;

/** How many subscribe commands a Redis has received since it was started. */
async function subscribes(server: RedisServer): Promise<number> {
  const stats = String(await server.command('INFO', 'commandstats'));
  return Number(/cmdstat_subscribe:calls=(\d+)/.exec(stats)?.[1]);
}
