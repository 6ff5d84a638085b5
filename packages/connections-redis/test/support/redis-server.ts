import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../../../connections/test/support/free-port.js';
import { ServerProgram } from '../../../connections/test/support/server-program.js';

/** A Redis server on a free port, which stores nothing. */
export class RedisServer {
  readonly port: number;
  readonly #program: ServerProgram;
  /** The folder that it may write to; removed at the end. */
  readonly folder: string;

  private constructor(port: number, folder: string, options: readonly string[]) {
    this.port = port;
    this.folder = folder;
    const always = ['--bind', '127.0.0.1', '--port', `${port}`, '--save', '', '--dir', folder];
    const args = [...always, '--enable-debug-command', 'yes', ...options];
    this.#program = new ServerProgram('redis-server', args, /Ready to accept connections/);
  }

  /** @param options as on its command line */
  static async start(...options: readonly string[]): Promise<RedisServer> {
    const folder = await mkdtemp(path.join(tmpdir(), 'connections-redis-'));
    const server = new RedisServer(await freePort(), folder, options);
    await server.start();
    return server;
  }

  start(): Promise<void> {
    return this.#program.start();
  }

  kill(): Promise<void> {
    return this.#program.kill();
  }

  freeze(): Promise<void> {
    return this.#program.freeze();
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs one command, on a separate connection. */
  async command(...args: readonly [string, ...string[]]): Promise<unknown> {
    const client = new Redis(this.port, '127.0.0.1', { maxRetriesPerRequest: 0 });
    client.on('error', () => undefined);
    try {
      return await client.call(...args);
    } finally {
      client.disconnect();
    }
  }
}
