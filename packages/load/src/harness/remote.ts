import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nowMs } from './machine.js';

interface Request {
  readonly id: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Functions that a process offers: their arguments and results have to survive JSON. */
type Calls<C> = { [K in keyof C]: (...args: never[]) => unknown };

interface RemoteOptions {
  readonly args?: readonly string[];
  /** The core that the process is pinned to; any if left out. */
  readonly core?: number | undefined;
  readonly nodeArgs?: readonly string[];
}

/** In a child process: answers the calls of the parent, and ends when the parent ends. */
export function answer(calls: object): void {
  const reply = (message: Reply): void => void process.send?.(message);
  const onRequest = async ({ id, name, args }: Request): Promise<void> => {
    try {
      const call = Reflect.get(calls, name) as (...args: readonly unknown[]) => unknown;
      reply({ id, result: await call(...args) });
    } catch (error) {
      reply({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  };
  process.on('message', (message) => {
    // Workers of node:cluster also get other messages through the same channel.
    if (typeof (message as Request).name === 'string') void onRequest(message as Request);
  });
  process.on('disconnect', () => process.exit());
}

/** The end of a channel to another process. */
interface Channel {
  send(message: Request): unknown;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

/** Calls the functions that the process at the other end of a channel offers. */
export class Caller<C extends Calls<C>> {
  readonly #channel: Channel;
  readonly #name: string;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #lost: Error | undefined;

  /** @param name of the process, for errors */
  constructor(channel: Channel, name: string) {
    this.#channel = channel;
    this.#name = name;
    channel.on('message', (reply) => this.#onReply(reply as Reply));
  }

  call<K extends keyof C & string>(name: K, ...args: Parameters<C[K]>): Promise<Awaited<ReturnType<C[K]>>> {
    if (this.#lost) return Promise.reject(this.#lost);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#channel.send({ id, name, args });
    });
  }

  /** The process is lost: rejects all calls, including later ones. */
  fail(how: string): void {
    this.#lost ??= new Error(`${this.#name} ${how}`);
    for (const { reject } of this.#waiting.values()) reject(this.#lost);
    this.#waiting.clear();
  }

  #onReply({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (error === undefined) waiting.resolve(result as never);
    else waiting.reject(new Error(`${this.#name}: ${error}`));
  }
}

/** A child process, and the calls that it answers. Calls are rejected when it ends unexpectedly. */
export class Remote<C extends Calls<C>> {
  readonly #child: ChildProcess;
  readonly #caller: Caller<C>;
  #isStopping = false;
  #hasEnded = false;

  constructor(module: URL, { args = [], core, nodeArgs = [] }: RemoteOptions = {}) {
    const path = fileURLToPath(module);
    const pin = core === undefined ? '' : `taskset -c ${core} `;
    // The soft limit of open files becomes the hard one; because of `exec`, the process id is that of Node.
    const script = `ulimit -n $(ulimit -Hn); exec ${pin}"$0" "$@"`;
    this.#child = fork(path, args, {
      execPath: '/bin/sh',
      execArgv: ['-c', script, process.execPath, ...nodeArgs],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#caller = new Caller(this.#child, [path, ...args].join(' '));
    this.#child.on('exit', (code, signal) => this.#onExit(`ended with ${String(code ?? signal)}`));
    this.#child.on('error', (error) => this.#onExit(error.message));
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  call<K extends keyof C & string>(name: K, ...args: Parameters<C[K]>): Promise<Awaited<ReturnType<C[K]>>> {
    return this.#caller.call(name, ...args);
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#hasEnded || !this.#child.connected) return Promise.resolve();
    return new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.disconnect();
    });
  }

  #onExit(how: string): void {
    this.#hasEnded = true;
    if (!this.#isStopping) this.#caller.fail(how);
  }
}

interface Stoppable {
  stop(): Promise<void>;
}

/** Passes a started process on, and remembers it. */
export type Started = <P extends Stoppable>(process: P) => P;

/** Runs `use`, and then always ends the processes that it has started, in the order of their start. */
export async function withProcesses<T>(use: (started: Started) => Promise<T>): Promise<T> {
  const processes: Stoppable[] = [];
  try {
    return await use((process) => {
      processes.push(process);
      return process;
    });
  } finally {
    for (const process of processes) await process.stop();
  }
}

/** Resolves with the value of `read` as soon as it is the wanted one, or with its value after `maxMs`. */
export async function settled<T>(read: () => T | Promise<T>, wanted: T, maxMs: number): Promise<T> {
  const untilMs = nowMs() + maxMs;
  for (;;) {
    const value = await read();
    if (value === wanted || nowMs() >= untilMs) return value;
    await delay(20);
  }
}
