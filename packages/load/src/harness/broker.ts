import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

/** Debian installs some servers in folders that are not on the path of ordinary users. */
const PATH = [process.env['PATH'], '/usr/sbin'].join(delimiter);

interface Program {
  readonly command: string;
  readonly args: (port: number) => readonly string[];
  /** What it prints as soon as clients can connect. */
  readonly ready: RegExp;
}

const PROGRAMS = {
  redis: {
    command: 'redis-server',
    args: (port) => ['--bind', '127.0.0.1', '--port', `${port}`, '--save', '', '--dir', tmpdir()],
    ready: /Ready to accept connections/,
  },
  nats: {
    command: 'nats-server',
    args: (port) => ['--addr', '127.0.0.1', '--port', `${port}`],
    ready: /Server is ready/,
  },
} as const satisfies Record<string, Program>;

export type BrokerName = keyof typeof PROGRAMS;

/** A real broker in its own process on a free port of 127.0.0.1. It stores nothing. */
export class Broker {
  readonly port: number;
  readonly #program: Program;
  #process: ChildProcess | undefined;

  private constructor(program: Program, port: number) {
    this.#program = program;
    this.port = port;
  }

  static async start(name: BrokerName): Promise<Broker> {
    const broker = new Broker(PROGRAMS[name], await freePort());
    await broker.start();
    return broker;
  }

  get pid(): number {
    return this.#process?.pid ?? NaN;
  }

  /** Starts it again, on the same port. Resolves when clients can connect. */
  async start(): Promise<void> {
    const { command, args, ready } = this.#program;
    const child = spawn(command, args(this.port), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH },
    });
    this.#process = child;
    const kill = (): boolean => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.off('exit', kill));
    await new Promise<void>((resolve, reject) => {
      for (const output of [child.stdout, child.stderr]) {
        createInterface(output).on('line', (line) => {
          if (ready.test(line)) resolve();
        });
      }
      child.once('exit', () => reject(new Error(`${command} has ended`)));
      child.once('error', ({ message }) => reject(new Error(`${command} is needed: ${message}`)));
    });
  }

  /** Kills it, without a clean shutdown. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

/** Whether the program of a broker is installed here. */
export function hasBroker(name: BrokerName): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, PROGRAMS[name].command), constants.X_OK);
      return true;
    } catch {
      // It is not in this folder.
      return false;
    }
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
