import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../../connections/test/support/free-port.js';
import { ServerProgram } from '../../../connections/test/support/server-program.js';

/** A nats-server on a free port. */
export class NatsServer extends ServerProgram {
  readonly port: number;

  readonly #folder: string;

  private constructor(port: number, folder: string) {
    const args = ['--addr', '127.0.0.1', '--port', `${port}`, '--config', path.join(folder, 'nats.conf')];
    super('nats-server', args, /Server is ready/);
    this.port = port;
    this.#folder = folder;
  }

  /** @param settings as in its configuration file */
  static async start(settings = ''): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), await mkdtemp(path.join(tmpdir(), 'connections-nats-')));
    await server.configure(settings);
    await server.start();
    return server;
  }

  /** Takes effect with the next start, or with SIGHUP. */
  async configure(settings: string): Promise<void> {
    await writeFile(path.join(this.#folder, 'nats.conf'), settings);
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
