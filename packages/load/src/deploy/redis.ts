import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

/** A Redis server of its own, which keeps nothing. */
export class Redis {
  readonly port: number;
  readonly #process: ChildProcess;

  private constructor(port: number, process: ChildProcess) {
    this.port = port;
    this.#process = process;
  }

  /** @throws {Error} there is no `redis-server` on the PATH, or it does not start */
  static async start(): Promise<Redis> {
    const port = await freePort();
    const args = ['--bind', '127.0.0.1', '--port', `${port}`, '--save', '', '--appendonly', 'no'];
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((resolve, reject) => {
      child.once('error', ({ message }) => reject(new Error(`redis-server is needed: ${message}`)));
      child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)));
      createInterface(child.stdout).on('line', (line) => {
        if (line.includes('Ready to accept connections')) resolve();
      });
    });
    return new Redis(port, child);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
