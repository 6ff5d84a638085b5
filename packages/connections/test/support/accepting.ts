import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer, type ClientOptions, type ServerOptions } from 'ws';
import {
  acceptConnections,
  ConnectionsPool,
  type Acceptor,
  type AcceptOptions,
  type Connection,
  type ConnectionsPoolOptions,
} from '../../src/index.js';
import { Client } from './loopback.js';
import { onTestFinished } from './on-test-finished.js';
import { tlsFixture } from './tls-fixture.js';

type Options = AcceptOptions<WebSocket, Connection, unknown>;

export interface AcceptingOptions {
  readonly accept?: Partial<Options>;
  readonly pool?: ConnectionsPoolOptions;
  readonly webSocketServer?: ServerOptions;
  readonly isSecure?: boolean;
}

/** A server that accepts clients. */
export interface Accepting {
  readonly server: Server;
  readonly webSocketServer: WebSocketServer;
  readonly pool: ConnectionsPool;
  readonly acceptor: Acceptor;
  readonly port: number;
  readonly url: string;
  /** Errors that the pool has emitted. */
  readonly errors: Error[];
}

let made = 0;

/** A different id for each client. */
export const anybody = (): { id: string; namespace: string } => ({
  id: String(made++),
  namespace: 'default',
});

/** A server on a free port, which ends with the test. Lets everybody in unless told otherwise. */
export async function startAccepting(options: AcceptingOptions = {}): Promise<Accepting> {
  const server = options.isSecure ? createSecureServer(tlsFixture) : createServer();
  const webSocketServer = new WebSocketServer({ noServer: true, ...options.webSocketServer });
  const pool = new ConnectionsPool(options.pool);
  const errors: Error[] = [];
  pool.on('error', (error) => errors.push(error));
  const acceptor = acceptAny({ server, webSocketServer, pool, authenticate: anybody, ...options.accept });
  const port = await listen(server);
  onTestFinished(() => {
    for (const socket of webSocketServer.clients) socket.terminate();
  });
  const url = `${options.isSecure ? 'wss' : 'ws'}://127.0.0.1:${port}`;
  return { server, webSocketServer, pool, acceptor, port, url, errors };
}

/** Any types, as from JavaScript: tests of types are in accept-connections.types.test.ts. */
export const acceptAny = acceptConnections as (options: Options) => Acceptor;

/** Makes the server listen on a free port until the test ends. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** A client that has received its 101. */
export async function openClient(url: string, options: ClientOptions = {}): Promise<Client> {
  const client = new Client(new WebSocket(url, { rejectUnauthorized: false, ...options }));
  onTestFinished(() => client.socket.terminate());
  await once(client.socket, 'open');
  return client;
}

/** How the server answers an upgrade that it refuses. */
export async function refusalOf(
  url: string,
  options: ClientOptions = {},
): Promise<{ status: number | undefined; headers: IncomingMessage['headers'] }> {
  const socket = new WebSocket(url, { rejectUnauthorized: false, ...options });
  socket.on('error', () => undefined);
  onTestFinished(() => socket.terminate());
  const accepted = once(socket, 'open').then(() => {
    throw new Error('Expected a refusal');
  });
  const [, response] = (await Promise.race([once(socket, 'unexpected-response'), accepted])) as [
    unknown,
    IncomingMessage,
  ];
  response.resume();
  return { status: response.statusCode, headers: response.headers };
}

/** A TCP client of the server. */
export async function openTcp(port: number): Promise<net.Socket> {
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  client.on('error', () => undefined);
  onTestFinished(() => void client.destroy());
  await once(client, 'connect');
  return client;
}

/** Everything that the server sends until it ends. */
export async function answerTo(client: net.Socket, encoding?: BufferEncoding): Promise<string> {
  const chunks = (await client.toArray()) as Buffer[];
  return Buffer.concat(chunks).toString(encoding);
}

/** A promise, and the functions that settle it. */
export function pending<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}

/** A text frame as a client sends it, masked with zeros (RFC 6455 §5.3). */
export function clientFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}
