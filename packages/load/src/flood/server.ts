import { Connection, ConnectionsPool } from '@soketi/connections';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { answer } from '../harness/index.js';
import type { FloodServerCalls } from './calls.js';

/** More than the other client sends. */
const MESSAGES_PER_SECOND = 500;

let echoed = 0;

answer({
  async listen(reaction) {
    const pool = new ConnectionsPool(
      reaction === 'none'
        ? {}
        : { rateLimit: { messagesPerSecond: MESSAGES_PER_SECOND, onExceeded: reaction } },
    );
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    let id = 0;
    server.on('connection', (socket) => {
      const connection = new Connection(String(id++), 'all', socket);
      connection.on('message', (message) => {
        echoed++;
        void connection.send(message);
      });
      void pool.newConnection(connection);
    });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  echoed: () => echoed,
} satisfies FloodServerCalls);
