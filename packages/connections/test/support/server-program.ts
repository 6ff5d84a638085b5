import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

/** A server in its own process, which can be killed and started again. */
export class ServerProgram {
  readonly #command: string;
  readonly #args: readonly string[];
  readonly #ready: RegExp;
  #process: ChildProcess | undefined;

  /** @param ready what it prints as soon as clients can connect */
  constructor(command: string, args: readonly string[], ready: RegExp) {
    this.#command = command;
    this.#args = args;
    this.#ready = ready;
  }

  async start(): Promise<void> {
    const child = spawn(this.#command, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    const printed: string[] = [];
    await new Promise<void>((resolve, reject) => {
      for (const output of [child.stdout, child.stderr]) {
        createInterface(output).on('line', (line) => {
          printed.push(line);
          if (this.#ready.test(line)) resolve();
        });
      }
      child.once('exit', () => reject(new Error(`${this.#command} has ended:\n${printed.join('\n')}`)));
      child.once('error', reject);
    });
  }

  /** Sends a signal. A signal that only suspends the server does not count as its end. */
  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Suspends it until SIGCONT. Resolves when it has stopped: the signal takes a moment. */
  async freeze(): Promise<void> {
    this.signal('SIGSTOP');
    const state = ['-o', 'state=', '-p', `${this.#process?.pid}`];
    while (!(await promisify(execFile)('ps', state)).stdout.startsWith('T')) await setTimeout(1);
  }

  /** Resolves when it has ended. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
