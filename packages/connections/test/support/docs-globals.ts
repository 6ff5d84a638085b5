/** Names that the code in the documentation assumes: each block is a module next to this file. */
export const GLOBALS = `
import type { IncomingMessage, Server } from 'node:http';
import type { WebSocketServer as Wss, WebSocket as Ws } from 'ws';
import type * as library from '@soketi/connections';

interface Session { readonly user: string; readonly tenant: string; readonly expiresAt: number }

declare module 'node:net' {
  // All servers of the examples listen on TCP.
  interface Server { address(): AddressInfo }
}

declare global {
  var server: Server;
  var createServer: typeof import('node:http').createServer;
  var webSocketServer: Wss;
  var WebSocketServer: typeof import('ws').WebSocketServer;
  var ws: Ws;
  var pool: library.ConnectionsPool;
  var adminPool: library.ConnectionsPool;
  var connection: library.Connection;
  var Connection: typeof library.Connection;
  var ConnectionsPool: typeof library.ConnectionsPool;
  var acceptConnections: typeof library.acceptConnections;
  var gracefulShutdown: typeof library.gracefulShutdown;
  var cluster: typeof import('node:cluster').default;
  var availableParallelism: typeof import('node:os').availableParallelism;
  var ipcAdapter: typeof import('@soketi/connections/ipc').ipcAdapter;
  var relayWorkers: typeof import('@soketi/connections/ipc').relayWorkers;
  var adapter: library.ClusterAdapter;
  var schema: import('graphql').GraphQLSchema;
  var id: string;
  var user: string;
  var senderId: string;
  var anything: object;
  var queue: { push(message: unknown): void; end(): void };
  var database: { end(): void };
  var lifecycle: library.GracefulShutdown;
  var authenticate: () => { id: string; namespace: string };
  var authenticateAdmin: () => { id: string; namespace: string };
  function identify(request: IncomingMessage): Promise<{ id: string; data: Session }>;
  function findSession(cookie: string | undefined, signal?: AbortSignal): Promise<Session | undefined>;
  function log(error: Error): void;
  function unsubscribe(namespace: string): void;
  function saveScore(id: string, score: number): Promise<void>;
  var app: {
    ws(path: string, handlers: {
      open(ws: UwsSocket): void;
      message(ws: UwsSocket, data: ArrayBuffer, isBinary: boolean): void;
      drain(ws: UwsSocket): void;
      pong(ws: UwsSocket): void;
      close(ws: UwsSocket, code: number, reason: ArrayBuffer): void;
    }): void;
  };
  interface UwsSocket { send(): void; close(): void; getUserData(): { connection: library.Connection } }
}
`;
