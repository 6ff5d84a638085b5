import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Stands between a client and a server on 127.0.0.1, and can swallow all bytes while the connections stay open. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #clients = new Set<Socket>();
  readonly #isSwallowing = new WeakSet<Socket>();
  #swallowsNew = false;
  /** The port that connections from now on lead to. */
  target: number;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.target = target;
    server.on('connection', (socket) => this.#join(socket));
  }

  static async start(target: number): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server, target);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #join(client: Socket): void {
    const upstream = connect(this.target, '127.0.0.1');
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      if (this.#swallowsNew) this.#isSwallowing.add(from);
      from.on('data', (bytes) => {
        if (!this.#isSwallowing.has(from)) to.write(bytes);
      });
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!this.#isSwallowing.has(from)) to.destroy();
      });
    }
  }

  /** From now on, existing connections carry nothing, not even their end; nor do new ones, if `all to come`. */
  swallow(which: 'present' | 'all to come' = 'present'): void {
    for (const socket of this.#sockets) this.#isSwallowing.add(socket);
    this.#swallowsNew = which === 'all to come';
  }

  /** How many clients are connected. */
  get size(): number {
    return this.#clients.size;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
