import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ChatClient, refusalOf, start } from './support/chat-client.js';

const SERVER = fileURLToPath(new URL('../dist/server/main.js', import.meta.url));
const NPM_START = fileURLToPath(new URL('../dist/show/npm-start.js', import.meta.url));

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

/** Windows has no signals: there, a signal just ends the process. */
const signalTest = test.skipIf(process.platform === 'win32');

interface Child {
  readonly process: ChildProcess;
  /** The exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly stderr: () => string;
}

/** The built server in its own process. */
function spawnServer(env: NodeJS.ProcessEnv = {}): Child {
  const child = spawn(process.execPath, [SERVER], {
    env: { ...process.env, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (data) => (stderr += String(data)));
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  return { process: child, ended, stderr: () => stderr };
}

async function listen(env?: NodeJS.ProcessEnv): Promise<Child & { readonly url: string }> {
  const child = spawnServer(env);
  for await (const line of createInterface(child.process.stdout!)) {
    const url = /^Listening on (http:\/\/127\.0\.0\.1:[1-9]\d*)$/.exec(line)?.[1];
    if (url !== undefined) return { ...child, url };
  }
  throw new Error(`The server ended: ${child.stderr()}`);
}

/** A server that drains as long as the test wants: `stuck` does not read the close frame. */
async function startDraining(signal: NodeJS.Signals) {
  const child = await listen();
  const stuck = await ChatClient.join(child.url, 'Stuck');
  const client = await ChatClient.join(child.url, 'Ada');
  stuck.socket.pause();
  child.process.kill(signal);
  expect(await client.closed).toEqual({ code: 1012, reason: 'The server restarts' });
  return { ...child, stuck };
}

signalTest.each(['SIGTERM', 'SIGINT'] as const)(
  '%s drains: 1013 for newcomers, 1012 for clients, then status 0',
  async (signal) => {
    const { url, ended, stuck } = await startDraining(signal);
    const newcomer = await ChatClient.connect(url);
    expect(await newcomer.closed).toEqual({ code: 1013, reason: 'Service Unavailable' });
    const { status, headers } = await refusalOf(url.replace('http', 'ws'));
    expect(status).toBe(503);
    expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    stuck.socket.resume();
    expect((await stuck.closed).code).toBe(1012);
    expect(await ended).toBe(0);
  },
);

signalTest('a second, different signal ends the process at once', async () => {
  const child = await startDraining('SIGTERM');
  child.process.kill('SIGINT');
  expect(await child.ended).toBe(128 + 2);
});

signalTest(
  'the same signal again ends the process at once, but not when npm has only repeated it',
  async () => {
    const child = await startDraining('SIGINT');
    const startedAtMs = performance.now();
    const repeat = setInterval(() => child.process.kill('SIGINT'), 50);
    onTestFinished(() => clearInterval(repeat));
    expect(await child.ended).toBe(128 + 2);
    // Only a lower bound: the first repetition comes 50 ms after the signal.
    expect(performance.now() - startedAtMs).toBeGreaterThan(250);
  },
);

signalTest('the rate comes from the environment', async () => {
  const { url, process, ended } = await listen({ DRAIN_PER_SECOND: '1' });
  const clients = [await ChatClient.join(url, 'Ada'), await ChatClient.join(url, 'Bob')];
  const startedAtMs = performance.now();
  process.kill('SIGTERM');
  for (const { closed } of clients) expect((await closed).code).toBe(1012);
  expect(await ended).toBe(0);
  // Never more than one within any second.
  expect(performance.now() - startedAtMs).toBeGreaterThan(900);
});

// Ending "npm start" by its process id left the port in use.
signalTest('a signal that reaches only the shell of npm drains the server too', async () => {
  // With a second command every shell keeps running, as dash does with one.
  const command = `"${process.execPath}" "${NPM_START}"; exit $?`;
  const shell = spawn('sh', ['-c', command], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // The server has this pipe too: it closes when both have ended.
  const ended = once(shell, 'close');
  const lines = createInterface(shell.stdout)[Symbol.asyncIterator]();
  const first = (await lines.next()) as { value: string };
  const client = await ChatClient.join(first.value.replace('Listening on ', ''), 'Ada');
  shell.kill('SIGTERM');
  expect(await client.closed).toEqual({ code: 1012, reason: 'The server restarts' });
  await ended;
});

test('a client that comes while the server drains is not added, and is told to come back', async () => {
  const { url, chat, shutdown } = await start();
  const stuck = await ChatClient.join(url, 'Stuck');
  stuck.socket.pause();
  const done = shutdown();
  await vi.waitFor(() => expect(chat.draining).toBe(true));
  const late = await ChatClient.connect(url);
  expect((await late.closed).code).toBe(1013);
  expect(chat.namespace('lobby').size).toBe(1);
  stuck.socket.resume();
  expect(await done).toMatchObject({ closed: 1, terminated: 0 });
});

test('a variable that is wrong ends the process with the reason', async () => {
  const child = spawnServer({ PORT: 'http' });
  expect(await child.ended).toBe(1);
  expect(child.stderr()).toBe('Expected PORT to be an integer of 0 to 65535, got `http`\n');
});

test('a port that is taken ends the process with the reason', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const child = spawnServer({ PORT: String((taken.address() as AddressInfo).port) });
  expect(await child.ended).toBe(1);
  expect(child.stderr()).toContain('EADDRINUSE');
});
