import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer, type ServerOptions } from 'ws';
import { Connection } from '../../src/index.js';
import { onTestFinished } from './on-test-finished.js';

/** Everything that one client has received, and a way to wait for the next message. */
export class Client {
  readonly socket: WebSocket;
  /** Text as string, binary as Buffer; not yet taken by `next`. */
  readonly inbox: (string | Buffer)[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #waiting: ((message: string | Buffer) => void) | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer, isBinary) => {
      const message = isBinary ? data : data.toString();
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting) waiting(message);
      else this.inbox.push(message);
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    socket.on('error', () => undefined);
  }

  /** The next message, in order. */
  next(): Promise<string | Buffer> {
    const message = this.inbox.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  /** The next `count` messages; fails if more have arrived when a ping has come back. */
  async exactly(count: number): Promise<(string | Buffer)[]> {
    const messages: (string | Buffer)[] = [];
    while (messages.length < count) messages.push(await this.next());
    await this.roundTrip();
    if (this.inbox.length > 0)
      throw new Error(`Received ${this.inbox.length} messages too many: ${String(this.inbox[0])}`);
    return messages;
  }

  /** Resolves when everything that the server has written so far has arrived. */
  async roundTrip(): Promise<void> {
    this.socket.ping();
    await once(this.socket, 'pong');
  }
}

/** One client and the server side of it. */
export interface Pair {
  readonly client: Client;
  /** The server's `ws` socket. */
  readonly socket: WebSocket;
}

/** A real `ws` server on a free port, which ends with the test. */
export class Loopback {
  readonly server: WebSocketServer;

  constructor(server: WebSocketServer) {
    this.server = server;
  }

  static async start(options: ServerOptions = {}): Promise<Loopback> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      server.close();
    });
    return new Loopback(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Connects one client. */
  async pair(options: ConstructorParameters<typeof WebSocket>[2] = {}): Promise<Pair> {
    const accepted = once(this.server, 'connection') as Promise<[WebSocket]>;
    const client = new Client(new WebSocket(this.url, options));
    const [[socket]] = await Promise.all([accepted, once(client.socket, 'open')]);
    return { client, socket };
  }

  /** Connects one client and wraps the server side. */
  async connect(id: string, namespace = 'default'): Promise<Pair & { readonly connection: Connection }> {
    const { client, socket } = await this.pair();
    return { client, socket, connection: new Connection(id, namespace, socket) };
  }
}
