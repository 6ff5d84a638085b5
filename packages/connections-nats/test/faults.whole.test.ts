import { describe, expect, test } from 'vitest';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { RecordedLink } from '../../connections/test/support/recorded-link.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { TcpProxy } from '../../connections/test/support/tcp-proxy.js';
import { natsAdapter } from '../src/index.js';
import { LIBRARIES, type NatsOptions } from './support/connections.js';
import { NatsServer } from './support/nats-server.js';

/*
 * The faults of a NATS server, with real servers. None of them may end the process.
 */

const OUTAGE_MS = 300;
const RETRY_MS = 50;
const WAIT = { timeout: 10_000 };
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const permissionsOf = (subjects: string): string =>
  `authorization { users = [ { user: chat, password: secret, permissions: { publish: "${subjects}", subscribe: "${subjects}" } } ] }`;

describeWith(['nats-server'], 'faults of NATS', () => {
  failOnUncaught();

  async function startServer(settings?: string): Promise<NatsServer> {
    const server = await NatsServer.start(settings);
    onTestFinished(() => server.stop());
    return server;
  }

  describe.each(LIBRARIES)('$name', (library) => {
    const { name } = library;

    /** The link does what the cluster layer does: it subscribes again with each `up`. */
    async function startNode(options: NatsOptions) {
      const connection = await library.connect(options);
      const adapter = natsAdapter({ connection });
      onTestFinished(async () => {
        await adapter.close();
        await connection.close();
      });
      const link = new RecordedLink();
      const refusals: unknown[] = [];
      const [up, down] = [link.up.bind(link), link.down.bind(link)];
      // Retries until it succeeds or the connection is lost, as the cluster layer does. A single refusal on a busy
      // machine is not the end.
      let attempts = 0;
      const subscribe = (mine: number): void => {
        adapter.subscribe(['c']).then(up, (error: unknown) => {
          refusals.push(error);
          if (mine === attempts) setTimeout(() => subscribe(mine), RETRY_MS).unref();
        });
      };
      link.up = () => subscribe(++attempts);
      link.down = (error) => {
        attempts++;
        down(error);
      };
      onTestFinished(() => {
        attempts++;
      });
      adapter.start(link);
      await link.untilUp();
      const echo = async (text: string): Promise<void> => {
        await link.untilUp();
        await adapter.publish('c', Buffer.from(text));
        await link.until(() => link.texts('c').includes(text));
      };
      return { adapter, connection, link, refusals, echo };
    }

    test(`every publish settles when the server is killed while messages are published: ${name}`, async () => {
      const server = await startServer();
      const node = await startNode({ port: server.port });
      const outcomes: Promise<string>[] = [];
      const load = setInterval(() => {
        for (let message = 0; message < 50; message++) {
          const published = node.adapter.publish('c', Buffer.from(`${outcomes.length}`));
          outcomes.push(published.then(() => 'answered').catch(() => 'rejected'));
        }
      }, 1);
      await expect.poll(() => outcomes.length).toBeGreaterThan(0);
      await outcomes[0];
      await server.kill();
      await node.link.untilDown();
      clearInterval(load);
      expect((await Promise.all(outcomes)).includes('answered')).toBe(true);
      await sleep(OUTAGE_MS);
      await server.start();
      await node.echo('again');
      const numbers = node.link.texts('c').slice(0, -1).map(Number);
      expect(numbers).toEqual(numbers.map((_, index) => index));
    });

    test(`a suspended server delays answers and loses nothing: ${name}`, async () => {
      const server = await startServer();
      const node = await startNode({ port: server.port });
      await server.freeze();
      const published = node.adapter.publish('c', Buffer.from('1'));
      const outcome = await Promise.race([published, sleep(OUTAGE_MS).then(() => 'delayed')]);
      expect(outcome).toBe('delayed');
      server.signal('SIGCONT');
      await published;
      await node.echo('2');
      expect(node.link.texts('c')).toEqual(['1', '2']);
      expect(node.link.downs).toEqual([]);
    });

    test(`the adapter is down while its permissions are revoked, reports the reason, and is up when they are granted again: ${name}`, async () => {
      const server = await startServer(permissionsOf('soketi.>'));
      const node = await startNode({ port: server.port, user: 'chat', pass: 'secret' });
      await server.configure(permissionsOf('other.>'));
      server.signal('SIGHUP');
      await node.link.untilDown();
      await expect.poll(() => node.refusals.length, WAIT).toBeGreaterThan(0);
      expect(String(node.refusals[0])).toMatch(/permission/i);
      await server.configure(permissionsOf('soketi.>'));
      server.signal('SIGHUP');
      // Retries until it succeeds, as the cluster layer does.
      await expect
        .poll(
          () =>
            node.adapter
              .subscribe(['c'])
              .then(() => 'subscribed')
              .catch(String),
          WAIT,
        )
        .toBe('subscribed');
      node.link.isUp = true;
      await node.echo('again');
    });

    test(`the adapter warns about a connection that will give up reconnecting, and stays down once it has: ${name}`, async () => {
      const server = await startServer();
      const node = await startNode({ port: server.port, maxReconnectAttempts: 2 });
      expect(node.link.warnings.map(String).join()).toMatch(/maxReconnectAttempts/);
      await server.kill();
      await node.connection.closed();
      expect(node.link.isUp).toBe(false);
      await server.start();
      for (const call of [
        node.adapter.publish('c', Buffer.from('')),
        node.adapter.subscribe(['c']),
        node.adapter.ping!(),
      ])
        await expect(call).rejects.toThrow(Error);
      node.adapter.resubscribe();
      await node.adapter.close();
      expect(node.link.ups).toBe(1);
    });

    test(`the adapter warns about noEcho, and its traits have no echo: ${name}`, async () => {
      const server = await startServer();
      const node = await startNode({ port: server.port, noEcho: true });
      expect(node.link.warnings.map(String).join()).toMatch(/noEcho/);
      expect(node.adapter.traits.echo).toBe(false);
      await node.adapter.ping!();
      await node.adapter.publish('c', Buffer.from(''));
      await node.adapter.ping!();
      expect(node.link.total).toBe(0);
    });

    test(`the adapter does not warn about a connection with the recommended settings: ${name}`, async () => {
      const server = await startServer();
      const node = await startNode({ port: server.port });
      await node.echo('1');
      expect(node.link.warnings).toEqual([]);
      expect(node.adapter.traits).toMatchObject({ echo: true, totalOrder: false, countsReceivers: false });
    });

    test(`the server sets the length of the longest message, and a longer one rejects without harm: ${name}`, async () => {
      const server = await startServer('max_payload: 100000');
      const node = await startNode({ port: server.port });
      expect(node.adapter.traits.maxMessageBytes).toBe(100_000);
      await expect(node.adapter.publish('c', Buffer.alloc(100_001))).rejects.toThrow(Error);
      await node.adapter.publish('c', Buffer.alloc(100_000));
      await node.link.until(() => node.link.total === 1);
      expect(node.link.downs).toEqual([]);
      await server.kill();
      await node.link.untilDown();
      expect(node.adapter.traits.maxMessageBytes).toBe(100_000);
    });

    test(`a publish over a half-open link rejects within five seconds, and the link recovers when its owner reconnects: ${name}`, async () => {
      const server = await startServer();
      const proxy = await TcpProxy.start(server.port);
      onTestFinished(() => proxy.stop());
      const node = await startNode({ port: proxy.port });
      proxy.swallow();
      await expect(node.adapter.publish('c', Buffer.from('lost'))).rejects.toThrow(/in time/);
      node.adapter.resubscribe();
      await node.link.untilDown();
      // By default the client notices only after minutes, by its own pings. Here its owner does.
      await (node.connection as unknown as { reconnect(): Promise<void> }).reconnect();
      await node.echo('again');
    });
  });
});
