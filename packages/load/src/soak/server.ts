import {
  Connection,
  ConnectionsPool,
  type ConnectionsPoolOptions,
  type WebSocketMessage,
} from '@soketi/connections';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import v8 from 'node:v8';
import { WebSocket, WebSocketServer } from 'ws';
import { answer, memoryAtRest, settled } from '../harness/index.js';
import {
  BYE,
  CLOSE_ME,
  POOLS,
  ROOMS,
  SLOW_MESSAGE_BYTES,
  type PoolCounts,
  type PoolName,
  type SoakServerCalls,
} from './calls.js';

const TICK_MS = 10;
/** Calls per tick in the steady pool. */
const BROADCASTS_PER_TICK = 8;
const PRIVATE_PER_TICK = 8;
/** Ticks between two broadcasts to slow readers: 2.6 MB/s for each of them. */
const TICKS_PER_SLOW_BROADCAST = 3;
/** Ticks between two rooms that are closed completely. */
const TICKS_PER_CLOSED_ROOM = 150;
/** How long the last closing handshakes may take, in ms. */
const EMPTY_MS = 15_000;

class Member extends Connection<string, WebSocketMessage, WebSocket> {
  /** The position of the next private message. */
  position = 0;
}

/** A pool, and the results of its calls. */
class Room {
  readonly pool: ConnectionsPool<WebSocketMessage, Member>;
  readonly name: PoolName;
  readonly #positions: number[];
  #joined = 0;
  #left = 0;
  #sent = 0;
  #dropped = 0;
  #received = 0;
  #slowEvents = 0;
  #replaced = 0;

  constructor(name: PoolName, options: ConnectionsPoolOptions<Member>) {
    this.name = name;
    this.pool = new ConnectionsPool(options);
    this.#positions = Array.from({ length: ROOMS[name] }, () => 0);
    this.pool.on('connection', () => this.#joined++);
    this.pool.on('disconnection', (_connection, code) => {
      this.#left++;
      if (code === 4409) this.#replaced++;
    });
    this.pool.on('slow', () => this.#slowEvents++);
  }

  get counts(): PoolCounts {
    const stats = this.pool.stats();
    const { messagesSent, dropped, slowReaders, terminated, heartbeatsLost, errors } = stats;
    return {
      joined: this.#joined,
      left: this.#left,
      messagesSent,
      sentByResults: this.#sent,
      dropped,
      droppedByResults: this.#dropped,
      received: this.#received,
      slowReaders,
      slowEvents: this.#slowEvents,
      terminated,
      heartbeatsLost,
      errors,
      replaced: this.#replaced,
    };
  }

  join(room: string, id: string, socket: WebSocket): void {
    const member = new Member(id, room, socket);
    member.on('message', (message) => {
      this.#received++;
      if (message === CLOSE_ME) this.#send(member.sendThenClose(BYE, 4000, 'As you wish'));
      else this.sendPrivate(member);
    });
    void this.pool.newConnection(member);
  }

  broadcast(room: number, isSlow: boolean): void {
    const position = this.#positions[room] ?? 0;
    this.#positions[room] = position + 1;
    let message: WebSocketMessage = `b:${position}`;
    if (isSlow) {
      message = Buffer.alloc(SLOW_MESSAGE_BYTES, position & 0xff);
      (message as Buffer).writeUInt32BE(position);
    }
    void this.#count(this.pool.broadcastMessage(String(room), message));
  }

  /** To all clients except the named one. */
  broadcastExcept(room: number): void {
    const [id] = this.pool.namespace(String(room)).keys();
    if (id !== undefined) void this.#count(this.pool.broadcastMessage(String(room), `x:${id}`, [id]));
  }

  sendPrivate(member: Member): void {
    if (member.closed) return;
    this.#send(member.send(`p:${member.position++}`));
  }

  sendToAny(room: number): void {
    const members = [...this.pool.namespace(String(room)).values()];
    const member = members[Math.floor(Math.random() * members.length)];
    if (member !== undefined) this.sendPrivate(member);
  }

  #send(sent: Promise<boolean>): void {
    void sent.then((isSent) => (this.#sent += Number(isSent)));
  }

  async #count(result: ReturnType<Room['pool']['broadcastMessage']>): Promise<void> {
    const { sent, dropped } = await result;
    this.#sent += sent;
    this.#dropped += dropped;
  }
}

const heartbeat = { interval: 5_000, timeout: 5_000 };
const maxBufferedBytes = 256 * 1024;
const rooms: Record<PoolName, Room> = {
  steady: new Room('steady', { onDuplicate: 'replace', heartbeat, idleTimeout: 60_000 }),
  // A client that does not read does not answer a ping either: here silence must not close anybody.
  lossy: new Room('lossy', { maxBufferedBytes, onSlow: 'drop' }),
  strict: new Room('strict', { maxBufferedBytes, onSlow: 'close', closeTimeout: 500, heartbeat }),
};

let server: WebSocketServer;
let ticker: NodeJS.Timeout | undefined;
let ticks = 0;
let maxListenersOfSocket = 0;

const any = (name: PoolName): number => Math.floor(Math.random() * ROOMS[name]);

function tick(): void {
  ticks++;
  const { steady, lossy, strict } = rooms;
  for (let call = 0; call < BROADCASTS_PER_TICK; call++) steady.broadcast(any('steady'), false);
  for (let call = 0; call < PRIVATE_PER_TICK; call++) steady.sendToAny(any('steady'));
  steady.broadcastExcept(any('steady'));
  if (ticks % TICKS_PER_SLOW_BROADCAST === 0) {
    for (const slow of [lossy, strict]) {
      for (let room = 0; room < ROOMS[slow.name]; room++) slow.broadcast(room, true);
    }
  }
  if (ticks % TICKS_PER_CLOSED_ROOM === 0) {
    lookAtListeners();
    void steady.pool.closeAll(String(any('steady')), 4001, 'Closed');
  }
}

function lookAtListeners(): void {
  for (const client of server.clients) {
    const counts = client.eventNames().map((event) => client.listenerCount(event));
    maxListenersOfSocket = Math.max(maxListenersOfSocket, ...counts);
  }
}

interface Listened {
  eventNames(): (string | symbol)[];
  listenerCount(event: string | symbol): number;
}

/** The listeners of everything that lives as long as the process. */
function countListeners(): number {
  return [server, process, ...POOLS.map((name) => rooms[name].pool)]
    .flatMap((emitter: Listened) => emitter.eventNames().map((event) => emitter.listenerCount(event)))
    .reduce((sum, listeners) => sum + listeners, 0);
}

function countResources(): Record<string, number> {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  return resources;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- what `queryObjects` takes: any class
const instances = (type: Function): number => v8.queryObjects(type) as number;
const Timeout = setTimeout(() => undefined).constructor;

answer({
  async listen() {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 4096 });
    server.on('connection', (socket, { url }) => {
      const [, pool, room, id] = (url ?? '').split('/');
      rooms[pool as PoolName].join(room as string, id as string, socket);
    });
    await once(server, 'listening');
    // Node.js opens it when the first socket is destroyed, and from then on it is one of the resources.
    process.stderr.write('');
    return (server.address() as AddressInfo).port;
  },
  start: () => void (ticker = setInterval(tick, TICK_MS)),
  stop: () => clearInterval(ticker),
  async rest() {
    const connections = (): number =>
      POOLS.reduce((sum, name) => sum + rooms[name].pool.stats().connections, server.clients.size);
    await settled(connections, 0, EMPTY_MS);
    const { heapBytes } = await memoryAtRest();
    return {
      heapBytes,
      connections: connections(),
      namespaces: POOLS.reduce((sum, name) => sum + rooms[name].pool.connections.size, 0),
      objects: {
        Connection: instances(Member),
        WebSocket: instances(WebSocket),
        Timeout: instances(Timeout),
      },
      listeners: countListeners(),
      resources: countResources(),
      pools: { steady: rooms.steady.counts, lossy: rooms.lossy.counts, strict: rooms.strict.counts },
      maxListenersOfSocket,
    };
  },
} satisfies SoakServerCalls);
