import { once } from 'node:events';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium, type Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { blockWith } from './support/docs.js';
import { Client } from './support/loopback.js';
import { describeWith, findProgram, hasSignals } from './support/requires.js';
import { ROOT } from './support/workspace-copy.js';

/*
 * The programs that newcomers copy first, exactly as in the documentation except for their port.
 */

/** Programs and a browser have to start. */
const TIMEOUT_MS = 120_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'connections-docs-programs-'));
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

interface Running {
  readonly process: ChildProcess;
  readonly port: number;
}

/** Starts the program in its own process, on a free port unless one is given. */
async function start(name: string, code: string, on = 0): Promise<Running> {
  const listening = /server\.listen\(8080.*\);$/m;
  expect(code).toMatch(listening);
  const program = code.replace(
    listening,
    `server.listen(${on}, '127.0.0.1', () => console.log(server.address().port));`,
  );
  await writeFile(path.join(folder, name), program);
  // A group of its own, so that it can be signalled as by a terminal.
  const child = spawn(process.execPath, [name], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: hasSignals,
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  // Workers all print the port that they share.
  const [ports] = (await once(child.stdout, 'data')) as [Buffer];
  return { process: child, port: parseInt(String(ports), 10) };
}

async function connect(
  url: string,
  headers: Record<string, string> = {},
  handshakeTimeout?: number,
): Promise<Client> {
  const client = new Client(new WebSocket(url, { headers, handshakeTimeout }));
  await once(client.socket, 'open');
  return client;
}

async function chatOf({ port }: Running, url: string): Promise<[Client, Client]> {
  const clients = [await connect(url), await connect(url, { origin: `http://127.0.0.1:${port}` })] as const;
  clients[0].socket.send('hello');
  expect(await Promise.all(clients.map((client) => client.next()))).toEqual(['hello', 'hello']);
  return [...clients];
}

/** A foreign page is refused, and a signal closes all clients with 1012. */
async function expectSafe(running: Running, url: string, clients: readonly Client[]): Promise<void> {
  const foreign = new WebSocket(url, { headers: { origin: 'https://evil.example' } });
  const [error] = (await once(foreign, 'error')) as [Error];
  expect(error.message).toContain('403');
  if (!hasSignals) return;
  const exited = once(running.process, 'exit');
  running.process.kill('SIGTERM');
  const closes = await Promise.all(clients.map(({ closed }) => closed));
  expect(closes.map(({ code }) => code)).toEqual([1012, 1012]);
  expect(await exited).toEqual([0, null]);
}

describe('what newcomers copy first', { timeout: TIMEOUT_MS }, () => {
  test('the quick start of the README is a chat, refuses pages of other sites and drains', async () => {
    const running = await start('readme.mjs', blockWith('README.md', 'server.listen(8080)'));
    const url = `ws://127.0.0.1:${running.port}`;
    await expectSafe(running, url, await chatOf(running, url));
  });

  test('the quick start of the docs serves its page, is a chat, refuses pages of other sites and drains', async () => {
    const page = blockWith('quick-start.md', '<script>');
    await writeFile(path.join(folder, 'index.html'), page);
    const running = await start('server.mjs', blockWith('quick-start.md', 'server.listen(8080'));
    const response = await fetch(`http://127.0.0.1:${running.port}/`);
    expect(await response.text()).toBe(page);
    const url = `ws://127.0.0.1:${running.port}/chat`;
    await expectSafe(running, url, await chatOf(running, url));
  });
});

describe.skipIf(!hasSignals)('the recipe for node:cluster', { timeout: TIMEOUT_MS }, () => {
  /*
   * Kubernetes stopped a program of this recipe: the primary ended at once, its workers ended with it, and every client
   * saw 1006.
   */
  test.each([
    ['SIGTERM', 'the primary alone'],
    ['SIGTERM', 'the primary and its workers'],
    ['SIGINT', 'the primary and its workers'],
  ] as const)('closes its clients with 1012 after %s to %s, and ends', async (signal, target) => {
    const running = await start('cluster.mjs', blockWith('cluster.md', 'relayWorkers()'));
    const url = `ws://127.0.0.1:${running.port}`;
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(url)));
    const exited = once(running.process, 'exit');
    const { pid } = running.process;
    process.kill(target === 'the primary alone' ? pid! : -pid!, signal);
    const closes = await Promise.all(clients.map(({ closed }) => closed));
    expect(closes.map(({ code }) => code)).toEqual(clients.map(() => 1012));
    expect(await exited).toEqual([0, null]);
  });

  test('replaces a worker that has died', async () => {
    const recipe = blockWith('cluster.md', 'relayWorkers()');
    const naming = recipe
      .replace('worker < 4', 'worker < 2')
      .replace(/^.*connection\.on\('message'.*$/m, '    connection.send(String(process.pid));');
    expect(naming).toContain('process.pid');
    const running = await start('cluster.mjs', naming);
    /** Connects until a worker has answered that is not among these. */
    const another = async (...known: readonly number[]): Promise<number> => {
      for (;;) {
        // Node forgets a client that it was handing to a worker which has just died.
        const client = await connect(`ws://127.0.0.1:${running.port}`, {}, 2_000).catch(() => undefined);
        const pid = Number(await client?.next());
        client?.socket.terminate();
        if (client !== undefined && !known.includes(pid)) return pid;
        await delay(20);
      }
    };
    const first = await another();
    const second = await another(first);
    process.kill(first, 'SIGKILL');
    const third = await another(first, second);
    expect(new Set([first, second, third]).size).toBe(3);
    const exited = once(running.process, 'exit');
    running.process.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });
});

test(
  'the recipe for Fastify lets its own pages in, and drains on SIGTERM',
  { timeout: TIMEOUT_MS },
  async () => {
    const code = blockWith('frameworks.md', '@fastify/websocket')
      .replace(/await app\.listen\(.*\);$/m, 'const server = app.server;\n$&')
      .replace('await app.listen({ port: 8080 });', 'await app.ready();\nserver.listen(8080);');
    const running = await start('fastify.mjs', code);
    const url = `ws://127.0.0.1:${running.port}/ws`;
    await expectSafe(running, url, await chatOf(running, url));
  },
);

describeWith(['chromium'], 'the chat with logins and rooms in Chromium', () => {
  test(
    'the chat asks for a login, delivers to a room, and rejoins it after a network failure',
    { timeout: TIMEOUT_MS },
    async () => {
      const page = blockWith('chat.md', '<script>');
      await writeFile(path.join(folder, 'index.html'), page);
      const running = await start('chat.mjs', blockWith('chat.md', 'server.listen(8080'));
      const browser = await chromium.launch({
        executablePath: findProgram('chromium')!,
        args: ['--no-sandbox', '--disable-gpu'],
      });
      onTestFinished(() => browser.close());
      const logIn = async (user: string): Promise<Page> => {
        // Each context has its own cookies.
        const tab = await (await browser.newContext()).newPage();
        await tab.goto(`http://127.0.0.1:${running.port}/`);
        await tab.fill('[name=user]', user);
        await tab.press('[name=user]', 'Enter');
        await tab.getByText(user, { exact: true }).waitFor();
        return tab;
      };
      const [ada, bob, eve] = [await logIn('ada'), await logIn('bob'), await logIn('eve')];
      await eve.selectOption('select', 'coffee');
      const say = async (tab: Page, text: string): Promise<void> => {
        await tab.waitForFunction('socket.readyState === 1');
        await tab.fill('[name=text]', text);
        await tab.press('[name=text]', 'Enter');
      };
      await say(ada, '<b>hello</b>');
      for (const tab of [ada, bob]) await tab.getByText('ada: <b>hello</b>').waitFor();
      // It reconnects by itself, and joins its room again.
      // The page may be back before it could be asked whether its socket has closed.
      await bob.evaluate(
        'new Promise((closed) => { socket.addEventListener("close", () => closed()); socket.close(); })',
      );
      await bob.waitForFunction('socket.readyState === 1');
      await say(bob, 'back');
      await ada.getByText('bob: back').waitFor();
      // Messages of the other room have not arrived here.
      await say(eve, 'alone');
      await eve.getByText('eve: alone').waitFor();
      expect(await eve.locator('li').allTextContents()).toEqual(['eve: alone']);
    },
  );

  test(
    'the chat refuses a stranger with 4401, survives invalid messages, and closes with 1012',
    { timeout: TIMEOUT_MS },
    async () => {
      await writeFile(path.join(folder, 'index.html'), 'page');
      const running = await start('chat.mjs', blockWith('chat.md', 'server.listen(8080'));
      const http = `http://127.0.0.1:${running.port}`;
      const url = `ws://127.0.0.1:${running.port}/chat`;
      const stranger = await connect(url);
      expect((await stranger.closed).code).toBe(4401);
      expect((await fetch(`${http}/login`, { method: 'POST' })).status).toBe(400);
      expect(await fetch(`${http}/readyz`).then(({ status }) => status)).toBe(200);
      const body = new URLSearchParams({ user: 'ada' });
      const response = await fetch(`${http}/login`, { method: 'POST', body, redirect: 'manual' });
      const client = await connect(url, { Cookie: response.headers.get('set-cookie')!.split(';')[0]! });
      expect(await client.next()).toBe('{"type":"welcome","user":"ada"}');
      for (const message of [
        '{',
        'null',
        '1',
        '{"type":"join","room":"__proto__"}',
        '{"type":"say","room":"tea","text":"not in it"}',
      ])
        client.socket.send(message);
      client.socket.send('{"type":"join","room":"tea"}');
      client.socket.send('{"type":"say","room":"tea","text":"hello"}');
      expect(await client.next()).toBe('{"type":"said","room":"tea","user":"ada","text":"hello"}');
      if (!hasSignals) return;
      const exited = once(running.process, 'exit');
      running.process.kill('SIGTERM');
      expect((await client.closed).code).toBe(1012);
      expect(await exited).toEqual([0, null]);
    },
  );
});

describeWith(['chromium'], 'the page of the quick start in Chromium', () => {
  test(
    'two tabs see what one of them says, and reconnect after a restart',
    { timeout: TIMEOUT_MS },
    async () => {
      const [code, page] = [
        blockWith('quick-start.md', 'server.listen(8080'),
        blockWith('quick-start.md', '<script>'),
      ];
      await writeFile(path.join(folder, 'index.html'), page);
      const running = await start('two-tabs.mjs', code);
      const browser = await chromium.launch({
        executablePath: findProgram('chromium')!,
        args: ['--no-sandbox', '--disable-gpu'],
      });
      onTestFinished(() => browser.close());
      const open = async (): Promise<Page> => {
        const tab = await browser.newPage();
        await tab.goto(`http://127.0.0.1:${running.port}/`);
        return tab;
      };
      const tabs = [await open(), await open()];
      const say = async (text: string): Promise<void> => {
        // A tab that is not connected keeps the text and shows nothing.
        await tabs[0]!.waitForFunction('socket.readyState === 1');
        await tabs[1]!.waitForFunction('socket.readyState === 1');
        await tabs[0]!.fill('input', text);
        await tabs[0]!.press('input', 'Enter');
        for (const tab of tabs) await tab.getByText(text).waitFor();
      };
      await say('<b>before</b>');
      const exited = once(running.process, 'exit');
      running.process.kill('SIGTERM');
      await exited;
      await start('two-tabs.mjs', code, running.port);
      await say('after');
    },
  );
});
