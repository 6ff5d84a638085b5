import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Command, NodeView, Outcome, ShowState } from '../../src/show/state.js';
import { ChatClient } from './chat-client.js';

const PROGRAM = fileURLToPath(new URL('../../dist/show/start.js', import.meta.url));

/** Processes start slowly on a busy machine. */
export const TIMEOUT_MS = 60_000;

/** Shorter than the timeout of the test, so that the demo is killed before it. */
const STATE_TIMEOUT_MS = 45_000;
const POLL_INTERVAL_MS = 100;

/** The built demo, with all its processes in their own group. */
export class Demo {
  readonly process: ChildProcess;
  /** The exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  url = '';
  stderr = '';

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [PROGRAM], {
      env: { ...process.env, PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    });
    this.process.stderr!.on('data', (data) => (this.stderr += String(data)));
    this.ended = once(this.process, 'close').then(
      ([code, signal]) => (code ?? signal) as number | NodeJS.Signals,
    );
  }

  static async start(env: NodeJS.ProcessEnv = {}): Promise<Demo> {
    const demo = new Demo(env);
    try {
      await demo.#listens();
      return demo;
    } catch (error) {
      await demo.kill();
      throw error;
    }
  }

  async #listens(): Promise<void> {
    for await (const line of createInterface(this.process.stdout!)) {
      this.url = /^Listening on (http:\/\/.+:[1-9]\d*)$/.exec(line)?.[1] ?? '';
      if (this.url === '') continue;
      // A node has received a message of the primary.
      await this.until((state) => state.nodes.every((node) => node.report !== undefined));
      return;
    }
    throw new Error(`The demo ended: ${this.stderr}`);
  }

  /** Whether any of its processes is still running. */
  get isAlive(): boolean {
    try {
      process.kill(-this.process.pid!, 0);
      return true;
    } catch {
      return false;
    }
  }

  /** Sends a signal to all its processes, like Ctrl-C in a terminal; does nothing if they have ended. */
  signal(signal: NodeJS.Signals): void {
    if (process.platform === 'win32') this.process.kill(signal);
    else if (this.isAlive) process.kill(-this.process.pid!, signal);
  }

  /** Ends all processes at once, including the nodes. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  async state(): Promise<ShowState | undefined> {
    try {
      const response = await fetch(`${this.url}/show/state`);
      return ((await response.json()) as { state?: ShowState }).state;
    } catch {
      // A node that ends may cut off a connection that was kept alive.
      return undefined;
    }
  }

  /** Waits for a state that meets the condition. */
  async until(isExpected: (state: ShowState) => boolean): Promise<ShowState> {
    const deadlineMs = performance.now() + STATE_TIMEOUT_MS;
    for (;;) {
      const found = await this.state();
      if (found !== undefined && isExpected(found)) return found;
      if (performance.now() > deadlineMs) throw new Error(`Not in time: ${JSON.stringify(found)}`);
      await delay(POLL_INTERVAL_MS);
    }
  }

  async node(node: number): Promise<NodeView> {
    return (await this.until(() => true)).nodes[node - 1]!;
  }

  /** Sends an order, like the page. */
  async order(command: Command | object): Promise<Outcome> {
    // On a connection of its own: a node that ends may cut off one that was kept alive.
    const sent = request(`${this.url}/show/control`, {
      method: 'POST',
      headers: { origin: this.url },
      agent: false,
    });
    const responded = once(sent, 'response') as Promise<[IncomingMessage]>;
    sent.end(JSON.stringify(command));
    const [response] = await responded;
    return (await json(response)) as Outcome;
  }

  /** A user on a node that meets the condition: the primary chooses the node. */
  async joinWhere(name: string, isExpected: (node: string) => boolean): Promise<ChatClient> {
    for (;;) {
      const client = await ChatClient.join(this.url, name);
      if (isExpected(client.node)) return client;
      client.socket.close();
      await client.closed;
    }
  }
}
