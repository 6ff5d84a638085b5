import { once } from 'node:events';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import { startServer, type RunningServer, type ServerOptions } from '../../src/app.js';
import type { MemberView, ServerMessage } from '../../src/protocol.js';

/** A server in this process that ends with the test. */
export async function start(options: ServerOptions = {}): Promise<RunningServer> {
  const server = await startServer({ port: 0, ...options });
  onTestFinished(() => void server.shutdown());
  return server;
}

export function webSocketUrl(url: string, query: Record<string, string> = ADA): string {
  return `${url.replace(/^http/, 'ws')}/ws?${new URLSearchParams(query).toString()}`;
}

const ADA = { namespace: 'lobby', name: 'Ada' };

/** One user of the chat. Statistics, which come by the clock, are kept apart from what users do. */
export class ChatClient {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  id = '';
  members: readonly MemberView[] = [];
  readonly #inbox: ServerMessage[] = [];
  readonly #stats: ServerMessage[] = [];
  #wake: () => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as ServerMessage;
      (message.type === 'stats' ? this.#stats : this.#inbox).push(message);
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    onTestFinished(() => socket.terminate());
  }

  /** @param query who joins where */
  static async connect(
    url: string,
    query?: Record<string, string>,
    options?: ClientOptions,
  ): Promise<ChatClient> {
    const client = new ChatClient(new WebSocket(webSocketUrl(url, query), options));
    await once(client.socket, 'open');
    return client;
  }

  static async join(url: string, name: string, namespace = 'lobby'): Promise<ChatClient> {
    const client = await ChatClient.connect(url, { namespace, name });
    const message = await client.next();
    if (message.type !== 'welcome') throw new Error(`Not welcome: ${JSON.stringify(message)}`);
    client.id = message.id;
    client.members = message.members;
    return client;
  }

  get view(): MemberView | undefined {
    return this.members.find(({ id }) => id === this.id);
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message that is no statistics. */
  next(): Promise<ServerMessage> {
    return this.#take(this.#inbox);
  }

  nextStats(): Promise<ServerMessage> {
    return this.#take(this.#stats);
  }

  /** What has come and was not taken, once everything that the server has written has arrived. */
  async rest(): Promise<readonly ServerMessage[]> {
    this.socket.ping();
    await once(this.socket, 'pong');
    return this.#inbox;
  }

  async #take(from: ServerMessage[]): Promise<ServerMessage> {
    for (;;) {
      const message = from.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** How the server answers an upgrade that it refuses. */
export function refusalOf(
  url: string,
  options?: ClientOptions,
): Promise<{ status: number | undefined; headers: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, options);
    socket.once('unexpected-response', (request: ClientRequest, response: IncomingMessage) => {
      resolve({ status: response.statusCode, headers: response.headers });
      request.destroy();
    });
    socket.once('open', () => {
      socket.terminate();
      reject(new Error('The upgrade was accepted'));
    });
    socket.on('error', reject);
  });
}
