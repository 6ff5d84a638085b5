import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type Server } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import {
  Connection,
  ConnectionsPool,
  gracefulShutdown,
  type GracefulShutdown,
  type GracefulShutdownOptions,
} from '../../src/index.js';
import { Client } from './loopback.js';
import { onTestFinished } from './on-test-finished.js';
import { upgradeRequest } from './raw-client.js';

/** A running server with its clients and its shutdown. */
export interface Running {
  readonly server: Server;
  readonly webSocketServer: WebSocketServer;
  readonly pool: ConnectionsPool;
  readonly clients: readonly Client[];
  readonly port: number;
  readonly shutdown: GracefulShutdown;
}

/** A server as a team would write it, with `count` clients. */
export async function start(count: number, options: Partial<GracefulShutdownOptions> = {}): Promise<Running> {
  const pool = new ConnectionsPool();
  const server = createServer((_request, response) => response.end('hello'));
  const webSocketServer = new WebSocketServer({ server });
  let joined = 0;
  webSocketServer.on('connection', (socket) => {
    void pool.newConnection(new Connection(String(joined++), 'default', socket));
  });
  const shutdown = gracefulShutdown({ server, webSocketServer, pool, ...options });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of webSocketServer.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const clients: Client[] = [];
  while (clients.length < count) clients.push(await connect(port));
  return { server, webSocketServer, pool, clients, port, shutdown };
}

/** A client of the server on that port. */
export async function connect(port: number): Promise<Client> {
  const client = new Client(new WebSocket(`ws://127.0.0.1:${port}`));
  onTestFinished(() => client.socket.terminate());
  await once(client.socket, 'open');
  return client;
}

/**
 * Sends an upgrade request without a WebSocket library; resolves with everything that the server sends until it ends.
 */
export async function upgradeRaw(port: number, client = net.connect(port, '127.0.0.1')): Promise<string> {
  onTestFinished(() => void client.destroy());
  client.on('error', () => undefined);
  let answer = '';
  client.on('data', (chunk) => (answer += chunk.toString()));
  client.write(upgradeRequest());
  await once(client, 'end');
  return answer;
}

/** A plain request. */
export async function get(
  port: number,
  agent: http.Agent | false = false,
): Promise<{ status: number | undefined; body: string }> {
  const [response] = (await once(http.get({ host: '127.0.0.1', port, agent }), 'response')) as [
    IncomingMessage,
  ];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
}

/** Keeps its connections until the test ends. */
export function keepAliveAgent(): http.Agent {
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  return agent;
}

/** A request that the server has received and not answered; `answered` belongs to its client. */
export async function pendingRequest({ server, port }: Running, agent?: http.Agent) {
  server.removeAllListeners('request');
  const asked = once(server, 'request') as Promise<[IncomingMessage, http.ServerResponse]>;
  const answered = get(port, agent);
  const [, response] = await asked;
  return { response, answered };
}

/** What the server answers about the connection if the client would keep it alive. */
export async function connectionHeader(port: number): Promise<string | undefined> {
  const request = http.get({ host: '127.0.0.1', port, agent: keepAliveAgent() });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.resume().headers.connection;
}

/** Whether somebody listens there. */
export const isOpen = async (port: number): Promise<boolean> => {
  const socket = net.connect(port, '127.0.0.1');
  const outcome = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return outcome;
};

/** Slow enough that the second client is closed a second after the first. */
export const SLOW = { drain: { maxPerSecond: 1 } };
