import { once } from 'node:events';
import { compileFunction } from 'node:vm';
import { WebSocket } from 'ws';
import { expect, onTestFinished, test } from 'vitest';
import { blockWith } from './support/docs.js';
import { Loopback } from './support/loopback.js';

/*
 * The function that the documentation gives to pages: its block of code, with a real server. The test replaces its
 * timers: it checks the delay of each, and fires it at once.
 */

interface Handlers {
  readonly onOpen?: (socket: WebSocket) => void;
  readonly onMessage?: (data: unknown) => void;
  readonly onFinal?: (code: number, reason: string) => void;
}
type StayConnected = (url: string, handlers: Handlers) => () => void;

interface Timer {
  readonly ms: number;
  readonly run: () => void;
}

/** The client of `ws`, which like that of a browser throws nothing if nobody listens to its errors. */
class BrowserWebSocket extends WebSocket {
  constructor(url: string) {
    super(url);
    this.on('error', () => undefined);
  }
}

/** The function, with the globals of a page. */
function copied() {
  const pending = new Map<number, Timer>();
  const due: ((timer: Timer) => void)[] = [];
  let timers = 0;
  const page = {
    WebSocket: BrowserWebSocket,
    Math: { min: Math.min, random: () => page.chance },
    setTimeout: (run: () => void, ms: number) => {
      const id = ++timers;
      const expire = (): void => {
        pending.delete(id);
        run();
      };
      const timer = { ms, run: expire };
      pending.set(id, timer);
      if (ms !== STABLE_MS) due.shift()?.(timer);
      return id;
    },
    clearTimeout: (id: number) => pending.delete(id),
    chance: 1,
  };
  const code = `${blockWith('deploys.md', 'function stayConnected')}\nreturn stayConnected;`;
  const names = ['WebSocket', 'Math', 'setTimeout', 'clearTimeout'] as const;
  const make = compileFunction(code, names) as (...values: unknown[]) => StayConnected;
  const stayConnected = make(...names.map((name) => page[name]));
  /** The next attempt that is planned. */
  const retry = (): Promise<Timer> => new Promise((resolve) => due.push(resolve));
  return { page, pending, retry, stayConnected };
}

/** How long a connection has to last, so that the next wait is a short one again. */
const STABLE_MS = 10_000;

async function start(handlers: Handlers = {}) {
  const { server, url } = await Loopback.start();
  const client = copied();
  const nextSocket = async (): Promise<WebSocket> => ((await once(server, 'connection')) as [WebSocket])[0];
  const accepted = nextSocket();
  const stop = client.stayConnected(url, handlers);
  onTestFinished(stop);
  return { ...client, server, stop, socket: await accepted, nextSocket };
}

/** The longest wait after a close with this code. */
async function waitAfter(code: number, chance = 1): Promise<number> {
  const { page, retry, socket } = await start();
  page.chance = chance;
  const planned = retry();
  if (code === 1006) socket.terminate();
  else socket.close(code);
  return (await planned).ms;
}

test('a client reconnects soon after a restart, and later if the server is overloaded', async () => {
  const codes = [1012, 1001, 1006, 4408, 1013, 4429];
  expect(await Promise.all(codes.map((code) => waitAfter(code)))).toEqual([
    500, 1000, 1000, 1000, 5000, 5000,
  ]);
});

test('a client reconnects at a random moment of the whole wait', async () => {
  expect(await Promise.all([0, 0.5, 1].map((chance) => waitAfter(1012, chance)))).toEqual([0, 250, 500]);
});

test.each([1000, 1008, 4401, 4403, 4409])('a client does not reconnect by itself after %i', async (code) => {
  let told!: (final: unknown) => void;
  const final = new Promise((resolve) => (told = resolve));
  const { socket, pending } = await start({ onFinal: (...args) => told(args) });
  socket.close(code, 'No');
  expect(await final).toEqual([code, 'No']);
  expect(pending.size).toBe(0);
});

test('a client waits twice as long each time, up to 30 s, until a connection has lasted', async () => {
  const { retry, socket, nextSocket, pending } = await start();
  let current = socket;
  const closeAndReturn = async (): Promise<number> => {
    const planned = retry();
    current.close(1012);
    const { ms, run } = await planned;
    const next = nextSocket();
    run();
    current = await next;
    return ms;
  };
  const waits: number[] = [];
  for (let attempt = 0; attempt < 8; attempt++) waits.push(await closeAndReturn());
  expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  // An answered ping shows that the client has seen its handshake.
  current.ping();
  await once(current, 'pong');
  for (const { ms, run } of [...pending.values()]) if (ms === STABLE_MS) run();
  expect(await closeAndReturn()).toBe(500);
});

test('a client receives what the server sends, and does not reconnect once it has been ended', async () => {
  let told!: (message: unknown) => void;
  const message = new Promise((resolve) => (told = resolve));
  const { socket, stop, pending } = await start({ onMessage: told });
  socket.send('hello');
  expect(await message).toBe('hello');
  const closed = once(socket, 'close');
  stop();
  expect((await closed)[0]).toBe(1000);
  expect(pending.size).toBe(0);
});

test('a client that is ended between two attempts makes no further attempt', async () => {
  const { retry, socket, stop, pending } = await start();
  const planned = retry();
  socket.terminate();
  await planned;
  stop();
  expect(pending.size).toBe(0);
});
