import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { poolOf } from '../support/pool-of.js';
import { socketKinds } from '../support/socket-kinds.js';

type RateLimit = NonNullable<ConnectionsPoolOptions['rateLimit']>;

/** One client of a pool with that limit, and the messages that its connection delivers. */
async function limited(rateLimit: RateLimit, perMessageDeflate = false) {
  const { pool, members } = await poolOf(1, { pool: { rateLimit }, server: { perMessageDeflate } });
  const messages: string[] = [];
  members[0].connection.on(
    'message',
    (message) => void messages.push(Buffer.from(message as string).toString()),
  );
  return { pool, messages, ...members[0] };
}

const numbers = (count: number): string[] => Array.from(Array(count).keys(), String);

describe.each([false, true])('a rate limit of a ws client, permessage-deflate: %s', (perMessageDeflate) => {
  const mode = perMessageDeflate ? 'compressed' : 'plain';

  test(`a client that floods the server is closed with 1008: ${mode}`, async () => {
    const { client, pool, messages } = await limited({ messagesPerSecond: 100 }, perMessageDeflate);
    for (const text of numbers(2_000)) client.socket.send(text);
    expect(await client.closed).toEqual({ code: 1008, reason: 'Rate limit exceeded' });
    await expect.poll(() => pool.stats().connections, { timeout: 10_000 }).toBe(0);
    expect(messages.slice(0, 100)).toEqual(numbers(100));
    expect(messages.length).toBeLessThan(2_000);
  });

  test(`a flood is dropped down to the limit, and the client stays connected: ${mode}`, async () => {
    const { client, pool, messages } = await limited(
      { messagesPerSecond: 100, onExceeded: 'drop' },
      perMessageDeflate,
    );
    for (const text of numbers(2_000)) client.socket.send(text);
    await expect
      .poll(() => pool.stats().messagesReceived + pool.stats().messagesIgnored, { timeout: 10_000 })
      .toBe(2_000);
    expect(messages.slice(0, 100)).toEqual(numbers(100));
    expect(pool.stats().rateLimited).toBe(2_000 - messages.length);
    expect(client.socket.readyState).toBe(client.socket.OPEN);
  });

  test(`a paused flood waits in the sockets, and arrives complete and in order: ${mode}`, async () => {
    const { client, socket, pool, messages } = await limited(
      { messagesPerSecond: 2_000, burst: 100, onExceeded: 'pause' },
      perMessageDeflate,
    );
    const texts = numbers(3_000).map((text) => text.padEnd(1_000, '.'));
    for (const text of texts) client.socket.send(text);
    await expect.poll(() => messages.length, { timeout: 15_000 }).toBe(3_000);
    expect(messages).toEqual(texts);
    expect(socket.isPaused).toBe(false);
    expect(pool.stats()).toMatchObject({ messagesReceived: 3_000, messagesIgnored: 0 });
    expect(pool.stats().rateLimited).toBeGreaterThan(0);
  });

  test(`every message of a client that closes while it is paused is delivered: ${mode}`, async () => {
    const { client, connection, messages } = await limited(
      { messagesPerSecond: 1_000, burst: 10, onExceeded: 'pause' },
      perMessageDeflate,
    );
    const closed: number[] = [];
    connection.on('close', (code) => closed.push(code));
    for (const text of numbers(300)) client.socket.send(text);
    client.socket.close(4000);
    await expect.poll(() => closed, { timeout: 10_000 }).toEqual([4000]);
    expect(messages).toEqual(numbers(300));
  });

  test(`a message in fragments counts once, when it is complete: ${mode}`, async () => {
    const { client, messages } = await limited(
      { messagesPerSecond: 0.001, burst: 2, onExceeded: 'drop' },
      perMessageDeflate,
    );
    for (let i = 0; i < 2; i++) {
      for (const fin of [false, false, true]) client.socket.send('part ', { fin });
    }
    client.socket.send('too much');
    await client.roundTrip();
    await expect.poll(() => messages).toEqual(['part part part ', 'part part part ']);
  });
});

test('bytesPerSecond counts what a compressed message inflates to', async () => {
  const { client, pool, messages } = await limited({ bytesPerSecond: 1_000_000, onExceeded: 'drop' }, true);
  client.socket.send('x'.repeat(600_000));
  client.socket.send('x'.repeat(600_000));
  await expect.poll(() => pool.stats().messagesIgnored).toBe(1);
  expect(messages).toHaveLength(1);
});

test('a paused client does not hold up the others of its pool', async () => {
  const rateLimit = { messagesPerSecond: 50, onExceeded: 'pause' } as const;
  const { members } = await poolOf(2, { pool: { rateLimit } });
  const [flooding, quiet] = members;
  const fromQuiet: unknown[] = [];
  quiet.connection.on('message', (message) => fromQuiet.push(message));
  flooding.connection.on('message', () => undefined);
  for (const text of numbers(5_000)) flooding.client.socket.send(text);
  await expect.poll(() => flooding.socket.isPaused).toBe(true);
  quiet.client.socket.send('hello');
  await expect.poll(() => fromQuiet).toEqual(['hello']);
  expect(flooding.socket.isPaused).toBe(true);
});

describe.each(Object.entries(socketKinds))('a rate limit over %s', (name, kind) => {
  test(`a client is paused if its socket can be paused, and otherwise loses messages above the limit: ${name}`, async () => {
    const link = await kind.connect();
    const pool = new ConnectionsPool<never, typeof link.connection>({
      rateLimit: { messagesPerSecond: 5, burst: 2, onExceeded: 'pause' },
    });
    const messages: unknown[] = [];
    link.connection.on('message', (message) => messages.push(message));
    await pool.newConnection(link.connection);
    for (const text of ['1', '2', '3', '4']) link.say(text);
    await expect.poll(() => pool.stats().rateLimited).toBe(2);
    if (link.connection.capabilities.pause) {
      await expect.poll(() => messages, { timeout: 5_000 }).toEqual(['1', '2', '3', '4']);
    } else {
      await delay(500);
      expect(messages).toEqual(['1', '2']);
    }
  });

  test(`a client that exceeds the limit is closed with 1008: ${name}`, async () => {
    const link = await kind.connect();
    const pool = new ConnectionsPool<never, typeof link.connection>({ rateLimit: { messagesPerSecond: 1 } });
    link.connection.on('message', () => undefined);
    link.connection.on('error', () => undefined);
    await pool.newConnection(link.connection);
    for (const text of ['1', '2', '3']) link.say(text);
    await expect.poll(() => pool.stats().rateLimited).toBe(1);
    expect(link.connection.closed).toBe(true);
    // In the standard, clients cannot close with 1008: such a socket closes without a code.
    if (kind.takesAllCodes) expect(await link.ended()).toEqual({ code: 1008, reason: 'Rate limit exceeded' });
  });
});
