import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createClient } from 'graphql-ws';
import { expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { Client } from '../../packages/connections/test/support/loopback.js';
import { hasSignals } from '../../packages/connections/test/support/requires.js';
import { connect, Example, refusalOf, sendEarly, type Asking } from './support/example.js';

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const CLIENTS = 200;
/** What the examples set. */
const DRAIN_PER_SECOND = 100;

interface Expected {
  readonly name: string;
  readonly asking?: Asking;
  readonly message?: string;
  /** Part of the response. */
  readonly answer?: string;
  /** The server asks for a name, and answers with a session. */
  readonly login?: boolean;
  /** Clients have to send this message, or the server closes them. */
  readonly isGreeted?: boolean;
}

const examples: readonly Expected[] = [
  { name: 'node-http' },
  { name: 'express-session', login: true },
  { name: 'express-jwt', login: true },
  { name: 'fastify' },
  { name: 'nest', message: '{"event":"say","data":"hello"}' },
  { name: 'hono' },
  {
    name: 'graphql-ws',
    asking: { path: '/graphql', protocols: ['graphql-transport-ws'] },
    message: '{"type":"connection_init"}',
    answer: 'connection_ack',
    isGreeted: true,
  },
];

test('every example is started by the tests', () => {
  const files = readdirSync(new URL('../src', import.meta.url));
  expect(files).toEqual(examples.map(({ name }) => `${name}.ts`).toSorted());
});

async function logIn(port: number): Promise<Record<string, string>> {
  const response = await fetch(`http://127.0.0.1:${port}/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"user":"ada"}',
  });
  return { Cookie: response.headers.get('set-cookie')!.split(';')[0]! };
}

/** The running example, and what a client needs to be let in. */
async function start({ name, asking = { path: '/ws' }, login = false }: Expected) {
  const example = await Example.start(name);
  return { example, asking: login ? { ...asking, headers: await logIn(example.port) } : asking };
}

/** @param greeting the first message of each client: graphql-ws closes clients that have sent nothing for 3 s */
const connectMany = (port: number, asking: Asking, greeting?: string): Promise<Client[]> =>
  Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = await connect(port, asking);
      if (greeting !== undefined) client.socket.send(greeting);
      return client;
    }),
  );

/** All clients are closed with 1012, no faster than the rate, and the process ends by itself. */
async function expectDrain(
  example: Example,
  clients: readonly Client[],
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<void> {
  const startedMs = performance.now();
  example.process.kill(signal);
  const codes = await Promise.all(clients.map(({ closed }) => closed.then(({ code }) => code)));
  const takenMs = performance.now() - startedMs;
  expect(codes).toEqual(clients.map(() => 1012));
  // The closes of the first second may happen before the second begins.
  expect(takenMs).toBeGreaterThan(1_000 * (CLIENTS / DRAIN_PER_SECOND - 1));
  expect(await example.ended).toEqual({ status: 0, errors: '' });
}

test.concurrent.each(examples)(
  'the example $name refuses strangers, loses no early message, and drains on SIGTERM',
  async (expected) => {
    const { example, asking } = await start(expected);
    // With the cookie, as a browser sends it from every page.
    expect(await refusalOf(example.port, { ...asking, origin: 'https://evil.example' })).toBe(403);
    if (expected.login) expect(await refusalOf(example.port, { ...asking, headers: {} })).toBe(401);
    const { message = 'hello', answer = 'hello', isGreeted } = expected;
    expect(await sendEarly(example.port, asking, message, answer)).toContain(answer);
    const clients = await connectMany(example.port, asking, isGreeted ? message : undefined);
    if (hasSignals) await expectDrain(example, clients);
  },
);

test.concurrent(
  'app.close() of Fastify waits for a drain of more than 10 s',
  { skip: !hasSignals },
  async () => {
    const code = "const { app } = await import('./fastify.js'); process.once('SIGUSR2', () => app.close());";
    const example = await Example.start('fastify', {}, code);
    const clients = await connectMany(example.port, { path: '/ws' });
    // This client joins last, and does not answer the close frame: the pool terminates it after 10 s.
    const stuck = await connect(example.port, { path: '/ws' });
    stuck.socket.pause();
    await expectDrain(example, clients, 'SIGUSR2');
  },
);

test.concurrent('express-session closes the connections of a session that logs out', async () => {
  const { example, asking } = await start({ name: 'express-session', login: true });
  const client = await connect(example.port, asking);
  const stays = await connect(example.port, { ...asking, headers: await logIn(example.port) });
  const { headers = {} } = asking;
  await fetch(`http://127.0.0.1:${example.port}/logout`, { method: 'POST', headers });
  expect(await client.closed).toEqual({ code: 4401, reason: 'Logged out' });
  expect(await refusalOf(example.port, asking)).toBe(401);
  await stays.roundTrip();
});

/*
 * The connections were closed before the session was destroyed: a tab that was looked up meanwhile was let in, and stayed.
 */
test.concurrent(
  'express-session closes a tab that connects while its session is being destroyed',
  { skip: !hasSignals },
  async () => {
    const code = `import session from 'express-session';
      const { prototype } = session.MemoryStore;
      const { destroy } = prototype;
      prototype.destroy = function (id, callback) {
        // A login destroys a session that was never stored.
        if (this.sessions[id] === undefined) return destroy.call(this, id, callback);
        process.once('SIGUSR2', () => destroy.call(this, id, callback));
        console.error('destroying');
      };
      await import('./express-session.js');`;
    const example = await Example.start('express-session', {}, code);
    const headers = await logIn(example.port);
    const destroying = once(example.process.stderr!, 'data');
    const answer = fetch(`http://127.0.0.1:${example.port}/logout`, { method: 'POST', headers });
    await destroying;
    const late = await connect(example.port, { path: '/ws', headers });
    example.process.kill('SIGUSR2');
    expect(await late.closed).toEqual({ code: 4401, reason: 'Logged out' });
    expect((await answer).status).toBe(204);
  },
);

test.concurrent.each(['express-session', 'express-jwt'])(
  '%s answers a login without a body with 400',
  async (name) => {
    const { port } = await Example.start(name);
    const response = await fetch(`http://127.0.0.1:${port}/login`, { method: 'POST' });
    expect(response.status).toBe(400);
  },
);

test.concurrent('express-jwt takes a bearer token, and nothing that is forged', async () => {
  const { example, asking } = await start({ name: 'express-jwt', login: true });
  const token = asking.headers!['Cookie']!.replace('token=', '');
  await connect(example.port, { path: '/ws', headers: { Authorization: `Bearer ${token}` } });
  const [header, claims] = token.split('.');
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`;
  for (const forged of [unsigned, `${header}.${claims}.AAAA`, 'x'])
    expect(
      await refusalOf(example.port, { path: '/ws', headers: { Authorization: `Bearer ${forged}` } }),
    ).toBe(401);
});

test.concurrent(
  'a client of graphql-ws gets each tick once, until the drain closes it with 1012',
  { skip: !hasSignals },
  async () => {
    const example = await Example.start('graphql-ws');
    const url = `ws://127.0.0.1:${example.port}/graphql`;
    const client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 });
    const ticks: unknown[] = [];
    const closed = new Promise((resolve) => client.on('closed', resolve));
    const watch = async () => {
      for await (const { data } of client.iterate({ query: 'subscription { ticks }' })) {
        ticks.push(data?.['ticks']);
        if (ticks.length === 3) example.process.kill('SIGTERM');
      }
    };
    await expect(watch()).rejects.toMatchObject({ code: 1012 });
    expect(await closed).toMatchObject({ code: 1012 });
    // Another one may arrive before the signal does.
    expect(ticks).toEqual(ticks.map((_, index) => index));
    expect(await example.ended).toEqual({ status: 0, errors: '' });
  },
);

test.concurrent('the adapter of Nest keeps running when a client sends an invalid message', async () => {
  const { example, asking } = await start({ name: 'nest' });
  const client = await connect(example.port, asking);
  for (const message of [
    '{',
    'null',
    '1',
    '{"event":"__proto__"}',
    '{"event":"say"}',
    '{"event":"say","data":"end"}',
  ])
    client.socket.send(message);
  expect(await client.exactly(2)).toEqual(['{"event":"said"}', '{"event":"said","data":"end"}']);
});
