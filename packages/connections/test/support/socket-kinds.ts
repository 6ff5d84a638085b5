import { EventEmitter, once } from 'node:events';
import type { ServerOptions, WebSocket } from 'ws';
import { Connection, type WebSocketMessage } from '../../src/index.js';
import { socketPair } from '../../src/testing.js';
import { BunSocket, UwsSocket, type Sent } from './callback-sockets.js';
import { tcpOf } from './engine.js';
import { EventTargetSocket } from './event-target-socket.js';
import { Loopback, type Client } from './loopback.js';

export type AnySocketConnection = Connection<string, WebSocketMessage, object>;

/** A message on the other side: text as a string, binary as a Buffer. */
export type Arrived = string | Buffer;

/** One connection over one kind of socket, and the other side of it. */
export interface Link {
  readonly connection: AnySocketConnection;
  /** Everything that has arrived at the other side by now. */
  readonly arrived: () => Promise<readonly Arrived[]>;
  /** How the other side saw the connection end. */
  readonly ended: () => Promise<{ readonly code: number; readonly reason: string }>;
  /** The other side sends. */
  readonly say: (message: string | Buffer) => void;
  /** The other side closes. */
  readonly hangUp: (code: number, reason: string) => void;
  /** From now on the socket accepts no messages. */
  readonly refuse: () => void;
  /** From now on sent messages wait in the socket. */
  readonly stall: () => void;
  /** The waiting messages leave. */
  readonly resume: () => void;
  /** A pong arrives. */
  readonly pong: () => void;
}

export interface SocketKind {
  /** `false`: the socket cannot send a Blob. */
  readonly sendsBlobs: boolean;
  /** `false`: it refuses close codes below 3000 except 1000, as browsers do. */
  readonly takesAllCodes: boolean;
  /** `false`: only our side is freed. */
  readonly terminates: boolean;
  /** `false`: it does not report how much waits in it. */
  readonly tellsBuffered: boolean;
  /** `false`: no pong reaches us. */
  readonly hearsPongs: boolean;
  /** `false`: releasing it tells it nothing, because its owner forwards its events. */
  readonly hasEvents: boolean;
  connect(): Promise<Link>;
}

function received(client: Client): () => Promise<readonly Arrived[]> {
  const all: Arrived[] = [];
  return async () => {
    if (client.socket.readyState === client.socket.OPEN) await client.roundTrip();
    all.push(...client.inbox.splice(0));
    return all;
  };
}

/** A link over a server socket of `ws`, wrapped in any way. */
async function overWs(
  wrap: (socket: WebSocket) => AnySocketConnection,
  refuse: (socket: WebSocket, connection: AnySocketConnection) => void,
  options: ServerOptions = {},
): Promise<Link> {
  const { client, socket } = await (await Loopback.start(options)).pair();
  const connection = wrap(socket);
  return {
    connection,
    arrived: received(client),
    ended: () => client.closed,
    say: (message) => client.socket.send(message),
    hangUp: (code, reason) => client.socket.close(code, reason),
    refuse: () => refuse(socket, connection),
    stall: () => tcpOf(socket).cork(),
    resume: () => tcpOf(socket).uncork(),
    pong: () => client.socket.pong(),
  };
}

/** Node's EventEmitter with the methods of `ws`, and none of its internals. */
class EmitterSocket extends EventEmitter {
  isRefusing = false;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
    for (const event of ['message', 'close', 'error', 'ping', 'pong'])
      socket.on(event, (...args: unknown[]) => this.emit(event, ...args));
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: WebSocketMessage): void {
    if (this.isRefusing) throw new Error('The socket takes nothing');
    this.#socket.send(message);
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  ping(): void {
    this.#socket.ping();
  }
}

/** Copies of everything that a socket in memory was given. */
const arrivedOf = (sent: readonly Sent[]): Arrived[] =>
  sent.map(({ message, isBinary }) => (isBinary ? Buffer.from(message as Uint8Array) : (message as string)));

/** How much a message counts while the socket is stalled. */
const sizeOf = (message: string | ArrayBuffer | Uint8Array): number => Buffer.byteLength(message);

class StallingUws extends UwsSocket {
  isStalled = false;

  override send(message: string | ArrayBuffer | Uint8Array, isBinary = false): number {
    const answer = super.send(message, isBinary);
    if (this.isStalled) this.buffered += sizeOf(message);
    return answer;
  }
}

class StallingBun extends BunSocket {
  isStalled = false;
  #buffered = 0;

  override send(message: string | ArrayBuffer | Uint8Array): number {
    const answer = super.send(message);
    if (this.isStalled) this.#buffered += sizeOf(message);
    return answer;
  }

  getBufferedAmount(): number {
    return this.#buffered;
  }

  empty(): void {
    this.#buffered = 0;
  }
}

interface Ending {
  readonly code: number;
  readonly reason: string;
}

/** A value that is known later. */
function later<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

const sayTo =
  (connection: AnySocketConnection) =>
  (message: string | Buffer): void =>
    connection.handleMessage(message, typeof message !== 'string');

function connectUws(): Link {
  const socket = new StallingUws();
  const connection: AnySocketConnection = new Connection('1', 'default', socket);
  const end = later<Ending>();
  socket.onClose = (code, reason) => {
    end.resolve({ code, reason: Buffer.from(reason).toString() });
    connection.handleClose(code, reason);
  };
  return {
    connection,
    arrived: () => Promise.resolve(arrivedOf(socket.sent)),
    ended: () => end.promise,
    say: (message) => {
      const lent = Uint8Array.from(Buffer.from(message as string));
      connection.handleMessage(lent.buffer, typeof message !== 'string');
      lent.fill(0);
    },
    hangUp: (code, reason) => connection.handleClose(code, Uint8Array.from(Buffer.from(reason)).buffer),
    refuse: () => (socket.answer = 2),
    stall: () => (socket.isStalled = true),
    resume: () => {
      socket.buffered = 0;
      socket.isStalled = false;
      connection.handleDrain();
    },
    pong: () => connection.handlePong(),
  };
}

function connectBun(): Link {
  const socket = new StallingBun();
  const connection: AnySocketConnection = new Connection('1', 'default', socket);
  const end = later<Ending>();
  socket.onClose = (code, reason) => {
    end.resolve({ code, reason });
    connection.handleClose(code, reason);
  };
  return {
    connection,
    arrived: () => Promise.resolve(arrivedOf(socket.sent)),
    ended: () => end.promise,
    say: sayTo(connection),
    hangUp: (code, reason) => connection.handleClose(code, reason),
    refuse: () => (socket.answer = 0),
    stall: () => (socket.isStalled = true),
    resume: () => {
      socket.empty();
      socket.isStalled = false;
      connection.handleDrain();
    },
    pong: () => connection.handlePong(),
  };
}

/** An object with `send` and `close` and nothing else; its owner forwards the events. */
function connectPlain(): Link {
  const sent: Arrived[] = [];
  const end = later<Ending>();
  let isRefusing = false;
  const socket = {
    send: (message: string | ArrayBuffer | Uint8Array): unknown => {
      if (isRefusing) return false;
      sent.push(typeof message === 'string' ? message : Buffer.from(new Uint8Array(message)));
      return undefined;
    },
    close: (code: number, reason: string): void => {
      end.resolve({ code, reason });
      setImmediate(() => connection.handleClose(code, reason));
    },
  };
  const connection: AnySocketConnection = new Connection('1', 'default', socket);
  return {
    connection,
    arrived: () => Promise.resolve(sent),
    ended: () => end.promise,
    say: sayTo(connection),
    hangUp: (code, reason) => connection.handleClose(code, reason),
    refuse: () => (isRefusing = true),
    stall: () => undefined,
    resume: () => undefined,
    pong: () => connection.handlePong(),
  };
}

async function connectEventTarget(): Promise<Link> {
  const { client, socket: peer } = await (await Loopback.start()).pair();
  const connection: AnySocketConnection = new Connection(
    '1',
    'default',
    new EventTargetSocket(client.socket),
  );
  const all: Arrived[] = [];
  peer.on('message', (data: Buffer, isBinary) => all.push(isBinary ? data : data.toString()));
  const end = later<Ending>();
  peer.on('close', (code, reason) => end.resolve({ code, reason: reason.toString() }));
  return {
    connection,
    arrived: async () => {
      if (client.socket.readyState === client.socket.OPEN) await client.roundTrip();
      return all;
    },
    ended: () => end.promise,
    say: (message) => peer.send(message),
    hangUp: (code, reason) => peer.close(code, reason),
    // It is closing, like the socket of a browser that accepts no more messages.
    refuse: () => client.socket.close(),
    stall: () => tcpOf(client.socket).cork(),
    resume: () => tcpOf(client.socket).uncork(),
    pong: () => undefined,
  };
}

function connectPair(): Link {
  const { server, client } = socketPair();
  const all: Arrived[] = [];
  client.on('message', (data: Buffer, isBinary) => all.push(isBinary ? data : data.toString()));
  const end = later<Ending>();
  client.on('close', (code: number, reason: Buffer) => end.resolve({ code, reason: reason.toString() }));
  return {
    connection: new Connection('1', 'default', server),
    arrived: async () => {
      if (client.readyState === client.OPEN) {
        client.ping();
        await once(client, 'pong');
      }
      return all;
    },
    ended: () => end.promise,
    say: (message) => client.send(message),
    hangUp: (code, reason) => client.close(code, reason),
    refuse: () => server.terminate(),
    stall: () => client.pause(),
    resume: () => client.resume(),
    pong: () => client.pong(),
  };
}

function connectHandlers(): Promise<Link> {
  let isRefusing = false;
  const connect = (socket: WebSocket): AnySocketConnection =>
    new Connection<string, WebSocketMessage, object>('1', 'default', socket, {
      send: (message: WebSocketMessage) => {
        if (isRefusing) return false;
        socket.send(message);
        return true;
      },
      close: (code, reason) => socket.close(code, reason),
    });
  return overWs(connect, () => (isRefusing = true));
}

const bare = (socket: WebSocket): AnySocketConnection => new Connection('1', 'default', socket);

/** A tracer that replaces `send` on the socket, as instrumentation does. */
function traced(socket: WebSocket): AnySocketConnection {
  const send = socket.send.bind(socket) as (...args: unknown[]) => void;
  socket.send = (...args: unknown[]) => send(...args);
  return bare(socket);
}

const ALL = {
  sendsBlobs: true,
  takesAllCodes: true,
  terminates: true,
  tellsBuffered: true,
  hearsPongs: true,
  hasEvents: true,
};

/** Every kind of socket that the library can use, and what that kind cannot do. */
export const socketKinds: Readonly<Record<string, SocketKind>> = {
  ws: { ...ALL, connect: () => overWs(bare, (socket) => socket.terminate()) },
  'ws with permessage-deflate': {
    ...ALL,
    connect: () => overWs(bare, (socket) => socket.terminate(), { perMessageDeflate: { threshold: 0 } }),
  },
  'ws with a replaced send': { ...ALL, connect: () => overWs(traced, (socket) => socket.terminate()) },
  'emitter without internals': {
    ...ALL,
    connect: () =>
      overWs(
        (socket) =>
          new Connection<string, WebSocketMessage, object>('1', 'default', new EmitterSocket(socket)),
        (_, { connection }) => ((connection as EmitterSocket).isRefusing = true),
      ),
  },
  'event target': {
    ...ALL,
    takesAllCodes: false,
    terminates: false,
    hearsPongs: false,
    connect: connectEventTarget,
  },
  'uWebSockets.js': {
    ...ALL,
    sendsBlobs: false,
    hasEvents: false,
    connect: () => Promise.resolve(connectUws()),
  },
  Bun: { ...ALL, sendsBlobs: false, hasEvents: false, connect: () => Promise.resolve(connectBun()) },
  'plain object': {
    ...ALL,
    sendsBlobs: false,
    terminates: false,
    tellsBuffered: false,
    hasEvents: false,
    connect: () => Promise.resolve(connectPlain()),
  },
  handlers: { ...ALL, connect: connectHandlers },
  'a pair in memory': { ...ALL, connect: () => Promise.resolve(connectPair()) },
};
