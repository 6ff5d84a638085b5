import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Redis as Ioredis6 } from 'ioredis';
import { Redis as Ioredis5 } from 'ioredis-5';
import { Redis as Iovalkey } from 'iovalkey';
import { expect, test } from 'vitest';
import { freePort } from '../../connections/test/support/free-port.js';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { RecordedLink } from '../../connections/test/support/recorded-link.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { ServerProgram } from '../../connections/test/support/server-program.js';
import { redisAdapter } from '../src/index.js';
import { PoolNode, Traffic } from './support/pool-node.js';
import { RedisServer } from './support/redis-server.js';

const MASTER = 'chat';
const WAIT = { timeout: 15_000 };

/** A Sentinel that notices a failure at once, and decides without others. Resolves with its port. */
async function startSentinel(master: RedisServer): Promise<number> {
  const port = await freePort();
  const file = path.join(master.folder, 'sentinel.conf');
  const settings = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 1`,
    `sentinel down-after-milliseconds ${MASTER} 300`,
    `sentinel failover-timeout ${MASTER} 1000`,
  ];
  await writeFile(file, settings.join('\n'));
  const sentinel = new ServerProgram('redis-sentinel', [file], /\+monitor/);
  onTestFinished(() => sentinel.kill());
  await sentinel.start();
  return port;
}

/** The client learns of the failover. The receiving connection does not, as after a network fault. */
function createClients(Client: typeof Ioredis6, sentinel: number) {
  const create = (failoverDetector: boolean) => {
    const client = new Client({
      sentinels: [{ host: '127.0.0.1', port: sentinel }],
      name: MASTER,
      failoverDetector,
      lazyConnect: true,
      retryStrategy: () => 50,
      sentinelRetryStrategy: () => 50,
    });
    client.on('error', () => undefined);
    return client;
  };
  const client = create(true);
  return { client, adapter: redisAdapter({ client, subscriber: create(false) }) };
}

async function startNode(Client: typeof Ioredis6, sentinel: number, channel: string) {
  const { client, adapter } = createClients(Client, sentinel);
  onTestFinished(async () => {
    await adapter.close();
    client.disconnect();
  });
  const link = new RecordedLink();
  await client.connect();
  adapter.start(link);
  await link.untilUp();
  await adapter.subscribe([channel]);
  return { adapter, client, link, channel };
}

async function startPool(sentinel: number): Promise<PoolNode> {
  const { client, adapter } = createClients(Ioredis6, sentinel);
  await client.connect();
  const node = new PoolNode(adapter, () => client.disconnect());
  await node.untilUp();
  return node;
}

async function startPair(): Promise<{ master: RedisServer; replica: RedisServer; sentinel: number }> {
  const master = await RedisServer.start('--repl-diskless-sync-delay', '0');
  onTestFinished(() => master.stop());
  const replica = await RedisServer.start('--replicaof', '127.0.0.1', `${master.port}`);
  onTestFinished(() => replica.stop());
  await expect.poll(() => replica.command('INFO', 'replication'), WAIT).toMatch(/master_link_status:up/);
  return { master, replica, sentinel: await startSentinel(master) };
}

const CLIENTS = [Ioredis5, Ioredis6, Iovalkey] as unknown as readonly (typeof Ioredis6)[];

describeWith(['redis-server', 'redis-sentinel'], 'a failover by Sentinel', () => {
  failOnUncaught();

  test('a subscriber of the old master receives nothing until resubscribe connects it to the new one', async () => {
    const { master, replica, sentinel } = await startPair();
    const nodes = await Promise.all(CLIENTS.map((Client, index) => startNode(Client, sentinel, `${index}`)));

    await master.freeze();
    await expect.poll(() => replica.command('INFO', 'replication'), WAIT).toMatch(/role:master/);
    for (const { adapter, client, link, channel } of nodes) {
      await expect.poll(() => client.status === 'ready' && client.stream.remotePort, WAIT).toBe(replica.port);
      await link.untilUp();
      expect(await adapter.publish(channel, Buffer.from('nobody hears this'))).toBe(0);
      const { ups } = link;
      adapter.resubscribe();
      await link.until(() => link.ups > ups && link.isUp);
      await adapter.subscribe([channel]);
      expect(await adapter.publish(channel, Buffer.from('heard'))).toBe(1);
      await link.until(() => link.total > 0);
      expect(link.texts(channel)).toEqual(['heard']);
    }
  });

  test(
    'pools whose subscribers are connected to the old master switch to the new one by themselves',
    { timeout: 60_000 },
    async () => {
      const { master, sentinel } = await startPair();
      const [one, other] = [await startPool(sentinel), await startPool(sentinel)];
      const traffic = await Traffic.between(one, other);
      await master.freeze();
      for (const node of [one, other]) await node.untilRecovered();
      expect(await traffic.end()).toBeGreaterThan(0);
      expect([one.falls, other.falls]).toEqual([
        [1, 1],
        [1, 1],
      ]);
    },
  );
});
