import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failOnUncaught } from '../../connections/test/support/no-uncaught.js';
import { onTestFinished } from '../../connections/test/support/on-test-finished.js';
import { describeWith } from '../../connections/test/support/requires.js';
import { TcpProxy } from '../../connections/test/support/tcp-proxy.js';
import { LIBRARIES, type ClientOptions } from './support/clients.js';
import { TestNode } from './support/node.js';
import { RedisServer } from './support/redis-server.js';

/*
 * The faults of a Redis server, with real servers. After each fault the node is up again by itself, and nothing has
 * ended the process.
 */

/** An outage, in ms: longer than the first pauses between two attempts to connect. */
const OUTAGE_MS = 300;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describeWith(['redis-server'], 'faults of Redis', () => {
  failOnUncaught();
  describe.each(LIBRARIES)('$name', (library) => {
    const { name } = library;
    let server: RedisServer;
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());
    const start = (options: ClientOptions = { port: server.port }, receiver?: ClientOptions) =>
      new TestNode(library, options, receiver).start();

    test(`the adapter is down when Redis is killed, and its messages arrive again when Redis is back: ${name}`, async () => {
      const node = await start();
      await server.kill();
      await node.link.untilDown();
      await expect(node.adapter.publish('c', Buffer.from(''))).rejects.toThrow(Error);
      await sleep(OUTAGE_MS);
      await server.start();
      await node.echo();
      expect(node.link.texts('c')).toEqual(['echo']);
    });

    test(`every publish during a SHUTDOWN settles, and messages arrive in order and at most once: ${name}`, async () => {
      const node = await start();
      const outcomes: Promise<string>[] = [];
      const publish = () => {
        const published = node.adapter.publish('c', Buffer.from(`${outcomes.length}`));
        outcomes.push(published.then(() => 'answered').catch(() => 'rejected'));
      };
      const load = setInterval(() => {
        for (let message = 0; message < 50; message++) publish();
      }, 1);
      await expect.poll(() => outcomes.length).toBeGreaterThan(0);
      await outcomes[0];
      await server.command('SHUTDOWN', 'NOSAVE').catch(() => undefined);
      await node.link.untilDown();
      clearInterval(load);
      await server.kill();
      const settled = await Promise.all(outcomes);
      const answered = settled.filter((outcome) => outcome === 'answered').length;
      expect(answered).toBeGreaterThan(0);
      await sleep(OUTAGE_MS);
      await server.start();
      await node.echo();
      const numbers = node.link
        .texts('c')
        .filter((text) => text !== 'echo')
        .map(Number);
      // In order. Answered messages may be lost with the receiving connection.
      expect(numbers).toEqual([...numbers].sort((one, other) => one - other));
      expect(new Set(numbers).size).toBe(numbers.length);
    });

    test(`CLIENT KILL TYPE pubsub ends the receiving connection, and the adapter makes a new one: ${name}`, async () => {
      const node = await start();
      const { ups } = node.link;
      await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await node.link.until(() => node.link.ups > ups);
      await node.echo();
      expect(node.link.downs).toHaveLength(1);
    });

    test(`the adapter is up again when the client of the user has reconnected after a CLIENT KILL: ${name}`, async () => {
      const node = await start();
      const { ups } = node.link;
      await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await node.link.until(() => node.link.ups > ups);
      await node.echo();
    });

    test(`the adapter is down while its ACL is revoked, reports the reason, and is up when it is granted again: ${name}`, async () => {
      await server.command('ACL', 'SETUSER', 'chat', 'on', '>secret', 'resetchannels', '&soketi:*', '+@all');
      const node = await start({ port: server.port, username: 'chat', password: 'secret' });
      await server.command('ACL', 'SETUSER', 'chat', 'resetchannels');
      await node.link.untilDown();
      await expect.poll(() => node.refusals.length).toBeGreaterThan(0);
      expect(node.refusals[0]!.message).toMatch(/NOPERM/);
      await expect(node.adapter.publish('c', Buffer.from(''))).rejects.toThrow(/NOPERM/);
      await server.command('ACL', 'SETUSER', 'chat', '&soketi:*');
      await node.adapter.subscribe(['c']);
      node.link.isUp = true;
      await node.echo();
    });

    test(`an ACL with exactly the commands that the README lists is enough: ${name}`, async () => {
      const commands = '+publish +subscribe +unsubscribe +ping +hello +auth +info';
      await server.command(
        'ACL',
        'SETUSER',
        'least',
        'on',
        '>secret',
        'resetchannels',
        '&soketi:*',
        '-@all',
        ...commands.split(' '),
      );
      const node = await start({ port: server.port, username: 'least', password: 'secret' });
      await node.echo();
    });

    test(`an adapter with a wrong password reports the reason, retries, and is up when the password is right: ${name}`, async () => {
      await server.command('ACL', 'SETUSER', 'late', 'on', '>wrong', '&*', '+@all');
      const node = new TestNode(
        library,
        { port: server.port },
        { port: server.port, username: 'late', password: 'secret' },
      );
      await node.client.connect();
      node.adapter.start(node.link);
      await node.link.until(() => node.link.downs.length > 0);
      expect(node.link.downs[0]!.message).toMatch(/WRONGPASS|invalid|password/i);
      expect(node.link.ups).toBe(0);
      await server.command('ACL', 'SETUSER', 'late', '>secret');
      await node.echo();
    });

    test(`a half-open link receives nothing until resubscribe replaces it: ${name}`, async () => {
      const proxy = await TcpProxy.start(server.port);
      onTestFinished(() => proxy.stop());
      const node = await start({ port: server.port }, { port: proxy.port });
      proxy.swallow();
      // Redis still counts the subscriber, and the publisher works.
      expect(await node.adapter.publish('c', Buffer.from('lost'))).toBeGreaterThan(0);
      const { ups } = node.link;
      node.adapter.resubscribe();
      await node.link.until(() => node.link.ups > ups);
      await node.echo();
      expect(node.link.texts('c')).toEqual(['echo']);
    });

    test(`a subscriber reconnects after Redis has disconnected it because its buffer was full: ${name}`, async () => {
      const node = await start();
      const { ups } = node.link;
      await server.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 1mb 1mb 1');
      onTestFinished(async () => {
        await server.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 32mb 8mb 60');
      });
      // More than the limit in one message.
      await node.adapter.publish('c', Buffer.alloc(8 * 1024 * 1024));
      await node.link.until(() => node.link.ups > ups);
      await node.echo();
    });

    test(`a Redis that sleeps delays answers and loses nothing: ${name}`, async () => {
      const node = await start();
      const asleep = server.command('DEBUG', 'SLEEP', '0.5');
      await sleep(50);
      const published = ['1', '2', '3'].map((text) => node.adapter.publish('c', Buffer.from(text)));
      await asleep;
      expect(await Promise.all(published)).toEqual([1, 1, 1]);
      await node.link.until(() => node.link.texts('c').length === 3);
      expect(node.link.texts('c')).toEqual(['1', '2', '3']);
      expect(node.link.downs).toEqual([]);
    });

    test(`an adapter whose port nobody listens on is down, without an unhandled rejection: ${name}`, async () => {
      const proxy = await TcpProxy.start(server.port);
      const { port } = proxy;
      proxy.stop();
      const node = new TestNode(library, { port: server.port }, { port });
      await node.client.connect();
      node.adapter.start(node.link);
      await node.link.until(() => node.link.downs.length > 2);
      expect(node.link.downs.every((error) => error instanceof Error)).toBe(true);
    });

    test(`an adapter that is closed while it connects leaves no connection open: ${name}`, async () => {
      // A server that accepts connections and never answers.
      const proxy = await TcpProxy.start(server.port);
      onTestFinished(() => proxy.stop());
      proxy.swallow('all to come');
      const node = new TestNode(library, { port: server.port });
      await node.client.connect();
      for (const delayMs of [0, 0, 1, 2, 5]) {
        const { adapter } = new TestNode(library, { port: server.port }, { port: proxy.port });
        adapter.start(node.link);
        await sleep(delayMs);
        await adapter.close();
      }
      await expect.poll(() => proxy.size, { timeout: 5_000 }).toBe(0);
    });
  });
});
