import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Stands between a client and a server of 127.0.0.1, and can swallow all bytes while the connections stay open. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #isSwallowing = new WeakSet<Socket>();
  /** Where connections made from now on lead to. */
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
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
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

  /** From now on, the present connections carry nothing any more, not even their end. */
  swallow(): void {
    for (const socket of this.#sockets) this.#isSwallowing.add(socket);
  }

  /** How many connections of clients are open. */
  get size(): number {
    return this.#sockets.size / 2;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
