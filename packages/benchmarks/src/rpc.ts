import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

interface Request {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
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

type Answer<F> = F extends (...args: never[]) => infer R ? Awaited<R> : never;
type Argument<F> = F extends (argument: infer A) => unknown ? A : undefined;

/** In a child: answers the calls of the parent, and ends with it. */
export function answer(calls: object): void {
  const reply = (message: Reply): void => void process.send?.(message);
  const onRequest = async ({ id, name, argument }: Request): Promise<void> => {
    try {
      const call = Reflect.get(calls, name) as (argument: unknown) => unknown;
      reply({ id, result: await call(argument) });
    } catch (error) {
      reply({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  };
  process.on('message', (request) => void onRequest(request as Request));
  process.on('disconnect', () => process.exit());
}

/** A child process on a core of its own, and the calls that it answers. */
export class Remote<C extends object> {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #isStopping = false;
  #lost: Error | undefined;

  /**
   * @param module file beside this one
   * @param core that it is pinned to; `undefined` for any
   */
  constructor(
    module: string,
    args: readonly string[],
    core: number | undefined,
    nodeArgs: readonly string[],
  ) {
    this.#name = `${module} ${args.join(' ')}`;
    const pin = core === undefined ? '' : `taskset -c ${core} `;
    // Two descriptors short of the hard limit is as good as it gets; `exec` keeps the process id ours.
    const script = `ulimit -n $(ulimit -Hn); exec ${pin}"$0" "$@"`;
    const path = fileURLToPath(new URL(module, import.meta.url));
    this.#child = fork(path, args, {
      execPath: '/bin/sh',
      execArgv: ['-c', script, process.execPath, ...nodeArgs],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (reply) => this.#onReply(reply as Reply));
    this.#child.on('exit', (code, signal) => this.#onExit(`ended with ${String(code ?? signal)}`));
    this.#child.on('error', (error) => this.#onExit(error.message));
  }

  call<K extends keyof C & string>(name: K, argument: Argument<C[K]>): Promise<Answer<C[K]>> {
    if (this.#lost) return Promise.reject(this.#lost);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, name, argument } satisfies Request);
    });
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#lost || !this.#child.connected) return Promise.resolve();
    return new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.disconnect();
    });
  }

  #onReply({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result as never);
    else waiting?.reject(new Error(`${this.#name}: ${error}`));
  }

  #onExit(how: string): void {
    this.#lost ??= new Error(`${this.#name} ${how}`);
    if (this.#isStopping) return;
    for (const { reject } of this.#waiting.values()) reject(this.#lost);
    this.#waiting.clear();
  }
}
