import { Connection, ConnectionsPool, type ClusterAdapter } from '@soketi/connections';
import { ipcAdapter } from '@soketi/connections/ipc';
import { natsAdapter } from '@soketi/connections-nats';
import { redisAdapter } from '@soketi/connections-redis';
import { connect } from '@nats-io/transport-node';
import { settled } from '@soketi/load/harness';
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { NodeSettings } from '../calls.js';
import { webSocketServer } from '../../candidates/candidate.js';
import { ioredis, nodeRedis } from './brokers.js';
import { AUDIENCE, type Member, type RelayCandidate } from './candidate.js';

/** How long joining the cluster may take, in ms. */
const UP_MS = 5_000;
/** Any 16 bytes (RFC 6455 §4.1). */
const KEY = 'AAAAAAAAAAAAAAAAAAAAAA==';
const LIBRARY = '@soketi/connections';

/** This library. */
export const soketi: RelayCandidate = {
  modules: {
    'node-redis': [LIBRARY, '@soketi/connections-redis', 'redis'],
    ioredis: [LIBRARY, '@soketi/connections-redis', 'ioredis'],
    nats: [LIBRARY, '@soketi/connections-nats', '@nats-io/transport-node'],
    ipc: [LIBRARY],
  },
  async join(settings) {
    const pool = await clusteredPool(settings);
    return {
      async addMember(id, member) {
        await pool.newConnection(new Connection(id, AUDIENCE, await takingSocket(member)));
      },
      broadcast(message, exception) {
        void pool.broadcastMessage(AUDIENCE, message, exception === undefined ? undefined : [exception]);
      },
      connected: () => pool.namespace(AUDIENCE).size,
      async listen() {
        const { server, port } = await webSocketServer('none');
        let id = 0;
        server.on('connection', (socket) => {
          void pool.newConnection(new Connection(`client ${process.pid} ${id++}`, AUDIENCE, socket));
        });
        return port;
      },
    };
  },
};

/** A pool whose cluster is up, or that is alone. */
export async function clusteredPool(settings: NodeSettings): Promise<ConnectionsPool> {
  const adapter = await adapterOf(settings);
  const pool = new ConnectionsPool(adapter && { adapter });
  if (adapter === undefined) return pool;
  pool.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  const state = await settled(() => pool.cluster.state, 'up', UP_MS);
  if (state !== 'up') throw new Error(`The cluster is ${state}`);
  return pool;
}

async function adapterOf({ transport, port }: NodeSettings): Promise<ClusterAdapter | undefined> {
  switch (transport) {
    case 'node-redis':
      return redisAdapter({ client: await nodeRedis(port) });
    case 'ioredis':
      return redisAdapter({ client: ioredis(port) });
    case 'nats':
      return natsAdapter({ connection: await connect({ port, maxReconnectAttempts: -1 }) });
    case 'ipc':
      return ipcAdapter();
    case 'none':
      return undefined;
  }
}

/** The server side of a `ws` socket, over a stream that passes written bytes to a member. */
function takingSocket(member: Member): Promise<WebSocket> {
  const stream = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      if (isOpen) member.takeFrames(chunk);
      done();
    },
  });
  let isOpen = false;
  const headers = { upgrade: 'websocket', 'sec-websocket-key': KEY, 'sec-websocket-version': '13' };
  const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage;
  return new Promise((resolve) => {
    new WebSocketServer({ noServer: true }).handleUpgrade(request, stream, Buffer.alloc(0), (socket) => {
      isOpen = true;
      resolve(socket);
    });
  });
}
