import { once } from 'node:events';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import type { ServerMessage } from '../../src/server/protocol.js';
import { startServer, type RunningServer, type ServerOptions } from '../../src/server/server.js';

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

type Members = Extract<ServerMessage, { type: 'members' }>;

/** One tab of a user of the chat. Lists of members, whose timing varies, are kept apart from other messages. */
export class ChatClient {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  name = '';
  node = '';
  /** The newest list of each room. */
  readonly #members = new Map<string, Members>();
  readonly #inbox: ServerMessage[] = [];
  #wake: () => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as ServerMessage;
      if (message.type === 'members') this.#members.set(message.room, message);
      else this.#inbox.push(message);
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    onTestFinished(() => socket.terminate());
  }

  /** @param query who connects to which namespace */
  static async connect(
    url: string,
    query?: Record<string, string>,
    options?: ClientOptions,
  ): Promise<ChatClient> {
    const client = new ChatClient(new WebSocket(webSocketUrl(url, query), options));
    await once(client.socket, 'open');
    return client;
  }

  /** Connects, and enters a room. */
  static async join(url: string, name: string, namespace = 'lobby', room = 'general'): Promise<ChatClient> {
    const client = await ChatClient.connect(url, { namespace, name });
    const message = await client.next();
    if (message.type !== 'welcome') throw new Error(`Not welcome: ${JSON.stringify(message)}`);
    client.name = message.name;
    client.node = message.node;
    client.send({ type: 'join', room });
    await client.sees(room, (users) => users[message.name] !== undefined);
    return client;
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message that is not a list of members. */
  next(): Promise<ServerMessage> {
    return this.#until(() => this.#inbox.shift());
  }

  /** Waits for a list of members that meets the condition. Resolves with it: tabs by name. */
  sees(room: string, isExpected: (tabs: Record<string, number>) => boolean): Promise<Record<string, number>> {
    return this.#until(() => {
      const tabs = this.members(room);
      return tabs && isExpected(tabs) ? tabs : undefined;
    });
  }

  /** The newest list of members that has arrived. */
  members(room: string): Record<string, number> | undefined {
    const entries = this.#members.get(room)?.users.map(({ name, tabs }) => [name, tabs] as const);
    return entries && Object.fromEntries(entries);
  }

  /** Messages that have arrived and were not taken, once everything that the server has written has arrived. */
  async rest(): Promise<readonly ServerMessage[]> {
    this.socket.ping();
    await once(this.socket, 'pong');
    return this.#inbox;
  }

  async #until<Found>(find: () => Found | undefined): Promise<Found> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** The answer of the server to an upgrade that it refuses. */
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
