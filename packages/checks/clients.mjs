/**
 * Real clients of other makers against a server with a shared compression history: undici's WebSocket (Node 22),
 * headless Chromium, Bun and Deno, each beside `ws` clients with windows of 9 to 15 bits. Thousands of random
 * broadcasts, exceptions, leaves, private and raw sends; every message of every client is compared.
 *
 *     npm run clients -w @soketi/checks [-- --steps 5000 --seed 1 --only chromium,undici,bun,deno]
 *
 * Installs the clients into a temporary folder, which it removes at the end, with npm: `node@22`, `bun`, `deno`,
 * `playwright-core`. Chromium itself has to be there (Debian: `apt-get install chromium`; elsewhere set CHROMIUM to
 * its path). Ends with status 1 when a message is wrong, missing or too many, or when a client does not run.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Connection, ConnectionsPool } from '@soketi/connections';
import { WebSocket, WebSocketServer } from 'ws';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: 'undici,chromium,bun,deno' },
  },
});
const STEPS = Number(options.steps);
const SOCKETS = 8;
const NAMESPACES = ['one', 'two', 'three'];
const HISTORY_BYTES = [512, 8_192, 32_768];
/** Window bits that the server asks for, by path; omitted if the client decides. */
const PATHS = { '/': undefined, '/15': 15, '/12': 12, '/9': 9 };
const CLIENT_TIMEOUT_MS = 120_000;
const CHROMIUM_FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The same hash for the same bytes, here and in every client. */
function hash(bytes) {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 2_654_435_761);
    b = Math.imul(b ^ byte, 1_597_334_677);
  }
  return `${a >>> 0}-${b >>> 0}`;
}

/** What runs in the client: it names each message by its kind, length and hash, and answers with the list. */
function clientProgram(url, sockets, paths) {
  for (let i = 0; i < sockets; i++) {
    const socket = new WebSocket(url + paths[i % paths.length]);
    const received = [];
    socket.binaryType = 'arraybuffer';
    socket.onerror = (event) => console.error('socket error', String(event.message ?? event.type));
    socket.onmessage = ({ data }) => {
      if (data === 'what have you received?') {
        socket.send(JSON.stringify(received));
        return;
      }
      const isText = typeof data === 'string';
      const bytes = isText ? new TextEncoder().encode(data) : new Uint8Array(data);
      received.push(`${isText ? 'text' : 'binary'} ${bytes.length} ${hash(bytes)}`);
    };
  }
}

function program(url) {
  const call = `clientProgram(${JSON.stringify(url)}, ${SOCKETS}, ${JSON.stringify(Object.keys(PATHS))})`;
  return `(() => {\n${hash}\n${clientProgram}\n${call};\n})();`;
}

/** mulberry32 */
function randomFrom(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit) => Math.floor(next() * limit);
  return { next, below, chance: (p) => next() < p, pick: (items) => items[below(items.length)] };
}

/** Makes random calls, and knows what every socket must receive. */
class Mix {
  constructor(sockets, random, historyBytes) {
    this.random = random;
    this.pool = new ConnectionsPool({ compression: { history: { bytes: historyBytes } } });
    this.serial = 0;
    this.letters = Array.from({ length: 9_000 }, () => {
      return `{"id":${random.below(50)},"name":"${'abcdefgh'.slice(random.below(8))}","at":${random.below(1e6)}},`;
    }).join('');
    this.noise = Buffer.from(Array.from({ length: 210_000 }, () => random.below(256)));
    this.actors = sockets.map(({ socket, name, extensions }, index) => ({
      name,
      extensions,
      socket,
      connection: new Connection(String(index), random.pick(NAMESPACES), socket),
      isInside: false,
      expected: [],
      expectedRaw: new Set(),
    }));
    for (const actor of this.actors) this.move(actor);
  }

  move(actor) {
    if (actor.isInside) void this.pool.removeConnection(actor.connection);
    else void this.pool.newConnection(actor.connection);
    actor.isInside = !actor.isInside;
  }

  message() {
    const { random } = this;
    const size = random.pick([0, 5, 40, 100, 170, 170, 400, 1_000, 1_000, 3_000, 8_000, 12_000]);
    const length = random.chance(0.02) ? random.below(200 * 1024) : random.below(size * 2 + 1);
    const start = random.below(this.letters.length - length);
    const text = `#${this.serial++} ${this.letters.slice(start, start + length)}`;
    const bytes = random.chance(0.1)
      ? Buffer.concat([
          Buffer.from(text.slice(0, 12)),
          this.noise.subarray(start % 9_000).subarray(0, length),
        ])
      : Buffer.from(text);
    const isText = random.chance(0.6);
    const message = isText ? text : bytes;
    const arrives = `${isText ? 'text' : 'binary'} ${Buffer.byteLength(message)} ${hash(Buffer.from(message))}`;
    return { message, arrives };
  }

  step() {
    const { random } = this;
    const actor = random.pick(this.actors);
    const at = random.next();
    if (at < 0.72) this.broadcast();
    else if (at < 0.82) {
      const { message, arrives } = this.message();
      actor.expected.push(arrives);
      void actor.connection.send(message);
    } else if (at < 0.92) this.sendRaw(actor);
    else if (at < 0.94) this.move(actor);
    else if (at < 0.97) actor.socket.ping();
    else this.pool.flush();
  }

  broadcast() {
    const { random } = this;
    const namespace = random.pick(NAMESPACES);
    const { message, arrives } = this.message();
    const members = this.actors.filter((actor) => actor.isInside && actor.connection.namespace === namespace);
    const isPicky = random.chance(0.25);
    const excepted = members.filter(() => isPicky && random.chance(0.3));
    for (const member of members) if (!excepted.includes(member)) member.expected.push(arrives);
    void this.pool.broadcastMessage(
      namespace,
      message,
      excepted.map(({ connection }) => connection.id),
    );
  }

  sendRaw({ socket, expectedRaw }) {
    const { random } = this;
    const { message, arrives } = this.message();
    expectedRaw.add(arrives);
    const binary = typeof message !== 'string';
    const compress = random.chance(0.8);
    if (random.chance(0.7)) {
      socket.send(message, { binary, compress });
      return;
    }
    const half = random.below(message.length + 1);
    socket.send(message.slice(0, half), { binary, compress, fin: false });
    socket.send(message.slice(half), { binary, compress, fin: true });
  }

  async run(steps) {
    const { random } = this;
    for (let step = 0; step < steps; step++) {
      this.step();
      if (random.chance(0.5)) await nextTurn();
      if (step % 100 === 99) await this.idle();
    }
    await this.idle();
  }

  async idle() {
    const isBusy = ({ connection, socket }) => connection.bufferedAmount + socket.bufferedAmount > 0;
    while (this.actors.some(isBusy)) await sleep(2);
  }

  /** @returns how many messages were right. @throws if a client has received anything else */
  async verify() {
    let count = 0;
    for (const { socket, expected, expectedRaw, name } of this.actors) {
      if (socket.readyState !== socket.OPEN) throw new Error(`A socket of ${name} has closed`);
      socket.send('what have you received?', { compress: false });
      const [answer] = await once(socket, 'message', { signal: AbortSignal.timeout(CLIENT_TIMEOUT_MS) });
      const received = JSON.parse(String(answer));
      // The order between messages of the socket's owner and those of the library is not promised.
      compare(
        name,
        received.filter((message) => !expectedRaw.has(message)),
        expected,
      );
      compare(
        name,
        received.filter((message) => expectedRaw.has(message)),
        [...expectedRaw],
      );
      count += received.length;
    }
    return count;
  }
}

function compare(name, received, expected) {
  for (let at = 0; at < Math.max(received.length, expected.length); at++) {
    if (received[at] === expected[at]) continue;
    throw new Error(`${name}: message ${at} is ${received[at]}, and has to be ${expected[at]}`);
  }
}

/** A server that agrees to another window on each path; it collects the sockets that connect. */
async function startServer() {
  const arrived = [];
  const servers = Object.fromEntries(
    Object.entries(PATHS).map(([path, serverMaxWindowBits]) => {
      const perMessageDeflate = { threshold: 0, ...(serverMaxWindowBits && { serverMaxWindowBits }) };
      return [path, new WebSocketServer({ noServer: true, perMessageDeflate, maxPayload: 64 * 1024 * 1024 })];
    }),
  );
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>client</title>');
  });
  server.on('upgrade', (request, tcp, head) => {
    const { [request.url]: path } = servers;
    let agreed = 'no compression';
    // Not `socket.extensions`, which has only the names.
    path.once('headers', (headers) => {
      const [, extensions] = /^Sec-WebSocket-Extensions: (.*)$/m.exec(headers.join('\n')) ?? [];
      agreed = extensions ?? agreed;
    });
    path.handleUpgrade(request, tcp, head, (socket) => {
      socket.on('error', (error) => console.error('server side:', error.message));
      arrived.push({ socket, extensions: agreed });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, arrived, url: `127.0.0.1:${server.address().port}` };
}

/** `ws` clients with windows of every size, in this process. */
function connectWs(url) {
  return [9, 10, 11, 12, 13, 14, 15].map((serverMaxWindowBits) => {
    const socket = new WebSocket(`ws://${url}/`, { perMessageDeflate: { serverMaxWindowBits } });
    const received = [];
    socket.on('error', (error) => console.error('ws client:', error.message));
    socket.on('message', (data, isBinary) => {
      if (!isBinary && data.toString() === 'what have you received?') socket.send(JSON.stringify(received));
      else received.push(`${isBinary ? 'binary' : 'text'} ${data.length} ${hash(data)}`);
    });
    return socket;
  });
}

/** Clients to close at the end, each with a `close`. */
const running = new Set();

async function endClients() {
  for (const client of running) {
    running.delete(client);
    await client.close();
  }
}

/** Each of these starts its client, and returns its version. */
function runtime(folder, command, args) {
  return (url) => {
    const file = join(folder, 'client.mjs');
    writeFileSync(file, program(`ws://${url}`));
    const binary = join(folder, 'node_modules', '.bin', command);
    const child = spawn(binary, [...args, file], {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, DENO_DIR: join(folder, 'deno'), DENO_NO_UPDATE_CHECK: '1' },
    });
    const exited = once(child, 'exit');
    running.add({
      close: () => {
        child.kill('SIGKILL');
        return exited;
      },
    });
    return execFileSync(binary, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  };
}

function chromium(folder) {
  return async (url) => {
    const playwright = createRequire(join(folder, 'package.json'))('playwright-core');
    const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
    const browser = await playwright.chromium.launch({ executablePath, args: CHROMIUM_FLAGS });
    running.add(browser);
    const page = await browser.newPage();
    page.on('console', (message) => console.error('chromium:', message.text()));
    await page.goto(`http://${url}/`);
    await page.evaluate(program(`ws://${url}`));
    return browser.version();
  };
}

async function until(condition, what) {
  for (const end = Date.now() + CLIENT_TIMEOUT_MS; !condition(); await sleep(5))
    if (Date.now() > end) throw new Error(`Timed out: ${what}`);
}

async function runOne(name, start, historyBytes) {
  const { server, arrived, url } = await startServer();
  const local = connectWs(url);
  try {
    await until(() => arrived.length === local.length, 'ws clients');
    for (const socket of arrived) socket.name = 'ws';
    const version = await start(url);
    await until(() => arrived.length === local.length + SOCKETS, `${name} connects`);
    for (const socket of arrived) socket.name ??= name;
    const mix = new Mix(arrived, randomFrom(Number(options.seed) + historyBytes), historyBytes);
    await mix.run(STEPS);
    const count = await mix.verify();
    const agreed = new Set(arrived.filter((socket) => socket.name === name).map((each) => each.extensions));
    const { compressedMessages, compressions, compressedBytesIn, compressedBytesOut } = mix.pool.stats();
    console.log(
      `${name} (${version}), history of ${historyBytes}: ${count} messages right; agreed: ${[...agreed].join(' | ')}; ` +
        `${compressedMessages} broadcasts shared in ${compressions} compressions, ` +
        `${compressedBytesIn} -> ${compressedBytesOut} bytes`,
    );
  } finally {
    await endClients();
    for (const socket of local) socket.terminate();
    for (const { socket } of arrived) socket.terminate();
    server.closeAllConnections();
    server.close();
  }
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'connections-clients-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      void endClients().then(() => {
        remove();
        process.exit(1);
      });
    });
  }
  try {
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    const packages = ['node@22', 'bun', 'deno', 'playwright-core'];
    console.log(`Installing ${packages.join(', ')}`);
    execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', ...packages], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const clients = {
      undici: runtime(folder, 'node', []),
      chromium: chromium(folder),
      bun: runtime(folder, 'bun', ['run']),
      deno: runtime(folder, 'deno', ['run', '--allow-net', '--no-config']),
    };
    for (const name of options.only.split(',')) {
      for (const historyBytes of HISTORY_BYTES) {
        try {
          await runOne(name, clients[name], historyBytes);
        } catch (error) {
          console.error(`${name}, history of ${historyBytes}: FAILED: ${error.message}`);
          process.exitCode = 1;
        }
      }
    }
  } finally {
    remove();
  }
}

await main();
