import { freePort } from '../../../connections/test/support/free-port.js';
import { ServerProgram } from '../../../connections/test/support/server-program.js';

/** A nats-server of its own on a free port. */
export class NatsServer extends ServerProgram {
  readonly port: number;

  private constructor(port: number, options: readonly string[]) {
    super('nats-server', ['--addr', '127.0.0.1', '--port', `${port}`, ...options], /Server is ready/);
    this.port = port;
  }

  /** @param options as on its command line */
  static async start(...options: readonly string[]): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), options);
    await server.start();
    return server;
  }
}
