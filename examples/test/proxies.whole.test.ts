import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { acceptConnections, ConnectionsPool } from '@soketi/connections';
import { expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { blockWith } from '../../packages/connections/test/support/docs.js';
import { freePort } from '../../packages/connections/test/support/free-port.js';
import { onTestFinished } from '../../packages/connections/test/support/on-test-finished.js';
import { describeWith } from '../../packages/connections/test/support/requires.js';
import { connect, Example, refusalOf } from './support/example.js';

vi.setConfig({ testTimeout: 60_000 });

const CLIENTS = 200;
/** Interval and timeout of `heartbeat: true`, in seconds: a quiet client sends something at least this often. */
const HEARTBEAT_S = 30 + 10;
/** The idle timeout that both configurations set. */
const IDLE_S = 75;
const SCALE = 20;

interface Proxy {
  readonly name: string;
  readonly config: string;
  /** Pattern of the idle timeouts in the configuration, with the seconds as its group. */
  readonly idle: RegExp;
  /** The arguments with which the program runs in the folder of the file `config`. */
  readonly start: (folder: string, config: string) => readonly string[];
}

/** A configuration of the examples. */
function read(file: string): string {
  return readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
}

const nginx: Proxy = {
  name: 'nginx',
  config: read('nginx/websocket.conf'),
  idle: /(?<=proxy_(?:read|send)_timeout )(\d+)s/g,
  start: (folder, config) => {
    const http = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${name};`,
    );
    writeFileSync(
      path.join(folder, 'nginx.conf'),
      `pid nginx.pid; daemon off; error_log stderr; events { worker_connections 1024; }
       http { access_log off; ${http.join(' ')} include ${config}; }`,
    );
    return ['nginx', '-p', folder, '-c', path.join(folder, 'nginx.conf')];
  },
};

const haproxy: Proxy = {
  name: 'haproxy',
  config: read('haproxy/haproxy.cfg'),
  idle: /(?<=timeout tunnel )(\d+)s/g,
  start: (_folder, config) => ['haproxy', '-db', '-f', config],
};

/** The location block that the documentation shows, with the lines that it leaves out. */
const documented: Proxy = {
  ...nginx,
  config: `upstream app { server 127.0.0.1:3001; }
    server { listen 8080; ${blockWith('liveness.md', 'proxy_pass http://app;')} }`,
};

async function untilOpen(port: number): Promise<void> {
  for (;;) {
    const socket = connectTcp(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await delay(20);
  }
}

/** Starts the proxy in front of nodes on these ports, with other idle timeouts. @returns its port */
async function startProxy(
  proxy: Proxy,
  ports: readonly [number, number],
  idle = `${IDLE_S}s`,
): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'connections-proxy-'));
  const port = await freePort();
  const config = path.join(folder, 'proxy.conf');
  const changes = { 3001: ports[0], 3002: ports[1] };
  let text = proxy.config.replace(/(listen |bind :)8080/, (_, start: string) =>
    start === 'listen ' ? `listen 127.0.0.1:${port}` : `bind 127.0.0.1:${port}`,
  );
  for (const [from, to] of Object.entries(changes))
    text = text.replace(`127.0.0.1:${from}`, `127.0.0.1:${to}`);
  writeFileSync(config, text.replace(proxy.idle, idle));
  const [program, ...args] = proxy.start(folder, config);
  const child = spawn(program!, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'close');
  let errors = '';
  child.stderr.on('data', (data) => (errors += String(data)));
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true });
  });
  const early = ended.then(() => Promise.reject(new Error(`${proxy.name} ended: ${errors}`)));
  await Promise.race([untilOpen(port), early]);
  early.catch(() => undefined);
  return port;
}

/** A node in this process with that heartbeat, in ms. */
async function startNode(heartbeat?: { interval: number; timeout: number }): Promise<number> {
  const server = createHttpServer((_request, response) => response.end());
  const webSocketServer = new WebSocketServer({ noServer: true });
  const pool = new ConnectionsPool(heartbeat && { heartbeat });
  let made = 0;
  const authenticate = () => ({ id: String(made++), namespace: 'default' });
  acceptConnections({ server, webSocketServer, pool, authenticate });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of webSocketServer.clients) socket.terminate();
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

describeWith(['nginx'], 'behind nginx with the location of the documentation', () => {
  test.concurrent(
    'the documented location of nginx lets clients connect, refuses foreign pages and closes with 1012 in a deploy',
    async () => {
      const node = await Example.start('node-http');
      // The page connects to /socket in the documentation, and to /ws in the example.
      const config = documented.config.replaceAll(/location \/socket/g, 'location /ws');
      const port = await startProxy({ ...documented, config }, [node.port, node.port]);
      const client = await connect(port, { path: '/ws', origin: `http://127.0.0.1:${port}` });
      await client.roundTrip();
      expect(await refusalOf(port, { path: '/ws', origin: 'https://evil.example' })).toBe(403);
      node.process.kill('SIGTERM');
      expect(await client.closed).toMatchObject({ code: 1012 });
      expect(await node.ended).toEqual({ status: 0, errors: '' });
    },
  );
});

for (const proxy of [nginx, haproxy]) {
  describeWith([proxy.name], `behind ${proxy.name}`, () => {
    test.concurrent(`the origin check sees the host of the page behind ${proxy.name}`, async () => {
      const node = await Example.start('node-http');
      const port = await startProxy(proxy, [node.port, node.port]);
      await connect(port, { path: '/ws', origin: `http://127.0.0.1:${port}` });
      expect(await refusalOf(port, { path: '/ws', origin: 'https://evil.example' })).toBe(403);
    });

    test.concurrent(
      `a deploy behind ${proxy.name} closes all clients with 1012, and newcomers get the next node`,
      async () => {
        const [old, next] = await Promise.all([Example.start('node-http'), Example.start('node-http')]);
        // All clients are on the old node until it drains.
        const port = await startProxy(proxy, [old.port, old.port]);
        const other = await startProxy(proxy, [old.port, next.port]);
        const clients = await Promise.all(
          Array.from({ length: CLIENTS }, () => connect(port, { path: '/ws' })),
        );
        old.process.kill('SIGTERM');
        // The first slice has been closed: the old node refuses upgrades from now on.
        await Promise.race(clients.map(({ closed }) => closed));
        const newcomers = await Promise.all(Array.from({ length: 8 }, () => connect(other, { path: '/ws' })));
        for (const newcomer of newcomers) await newcomer.roundTrip();
        const codes = await Promise.all(clients.map(({ closed }) => closed.then(({ code }) => code)));
        expect(codes).toEqual(clients.map(() => 1012));
        expect(await old.ended).toEqual({ status: 0, errors: '' });
        for (const newcomer of newcomers) await newcomer.roundTrip();
      },
    );

    test.concurrent(
      `the idle timeout of ${proxy.name} is longer than the heartbeat, which keeps quiet clients`,
      async () => {
        const timeouts = [...proxy.config.matchAll(proxy.idle)].map(([, seconds]) => Number(seconds));
        expect(new Set(timeouts)).toEqual(new Set([IDLE_S]));
        expect(IDLE_S).toBeGreaterThan(HEARTBEAT_S);
        // The same in a twentieth of the time, with a margin for answers that are late on a busy machine.
        const [interval, timeout] = [30_000 / SCALE, 30_000 / SCALE];
        const ports = await Promise.all([startNode({ interval, timeout }), startNode()]);
        const [beating, quiet] = await Promise.all(
          ports.map((port) => startProxy(proxy, [port, port], `${(IDLE_S * 1000) / SCALE}ms`)),
        );
        const kept = await connect(beating!, { path: '/' });
        const cut = await connect(quiet!, { path: '/' });
        expect(await cut.closed).toMatchObject({ code: 1006 });
        // The connection has been quiet for longer than the idle timeout.
        await delay(interval);
        await kept.roundTrip();
      },
    );
  });
}

/*
 * A node that drained answered 503 to requests that were not upgrades, and HAProxy sent each of them to the others as well:
 * an order was placed several times.
 */
describeWith(['haproxy'], 'HAProxy in front of a node that answers 503', () => {
  test.concurrent.each([
    ['sends a POST to no other node', 'POST', 1],
    ['sends a GET to the next node', 'GET', 2],
  ] as const)('%s', async (_title, method, times) => {
    const seen: string[] = [];
    const startBusy = async (): Promise<number> => {
      const server = createHttpServer((request, response) => {
        const isProbe = request.url === '/readyz';
        if (!isProbe) seen.push(request.method!);
        response.writeHead(isProbe || seen.length > 1 ? 200 : 503).end();
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      onTestFinished(() => {
        server.close();
        server.closeAllConnections();
      });
      return (server.address() as AddressInfo).port;
    };
    const port = await startProxy(haproxy, [await startBusy(), await startBusy()]);
    const response = await fetch(`http://127.0.0.1:${port}/order`, { method });
    expect(seen).toEqual(Array(times).fill(method));
    expect(response.status).toBe(times === 1 ? 503 : 200);
  });
});
