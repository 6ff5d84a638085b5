/*
 * Where sockets come from on each runtime. A host listens on a free port and hands each socket to `onSocket`;
 * `connect` opens one socket more and resolves with its other end.
 */
import http from 'node:http';
import net from 'node:net';
import { once } from 'node:events';
import { WebSocket as WsClient, WebSocketServer } from 'ws';

const { Bun, Deno } = globalThis;
const HOST = '127.0.0.1';

export const runtime = Bun ? 'Bun' : Deno ? 'Deno' : 'Node';
export const version = Bun?.version ?? Deno?.version.deno ?? process.versions.node;

/** Bun replaces the package `ws` with its own implementation. */
const WS_NAME = Bun ? '`ws` (built-in)' : '`ws`';
/** That of `ws` says 1006 where Deno's own says 0, and negotiates compression. */
const Client = Bun ? WebSocket : WsClient;

/** The other end: records what it receives. */
export class Peer {
  messages = [];
  #socket;

  constructor(socket) {
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => this.messages.push(data));
    this.closed = new Promise((resolve) =>
      socket.addEventListener('close', ({ code, reason }) => resolve({ code, reason })),
    );
    // A close follows, and has all the information.
    socket.addEventListener('error', () => undefined);
  }

  get isCompressed() {
    return this.#socket.extensions.includes('permessage-deflate');
  }

  send(data) {
    this.#socket.send(data);
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }
}

async function connect(url) {
  const socket = new Client(url);
  const peer = new Peer(socket);
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', () => reject(new Error(`No connection to ${url}`)));
  });
  return peer;
}

const clientOf = (port) => ({ connect: () => connect(`ws://${HOST}:${port}`), mute: () => mutePeer(port) });

/** A peer that reads nothing and answers nothing once the handshake is done. */
async function mutePeer(port) {
  const socket = net.connect(port, HOST);
  socket.on('error', () => undefined);
  const headers = [
    `GET / HTTP/1.1`,
    `Host: ${HOST}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  socket.write(`${headers.join('\r\n')}\r\n\r\n`);
  await once(socket, 'data');
  socket.pause();
  return { destroy: () => socket.destroy() };
}

/** The library writes frames by itself if the socket's own `send` is never called. */
function countSends(socket) {
  const counted = { sends: 0 };
  // What the `send` of `ws` ends in: if the socket had a `send` of somebody else, the library would use it.
  const sender = socket._sender ?? socket;
  const { send } = sender;
  sender.send = function (...args) {
    counted.sends++;
    return send.apply(this, args);
  };
  return counted;
}

const wsHost = (name, perMessageDeflate) => ({
  name,
  countSends,
  isCompressed: perMessageDeflate !== false,
  async listen(onSocket) {
    const server = http.createServer();
    const webSocketServer = new WebSocketServer({ server, perMessageDeflate });
    webSocketServer.on('connection', (socket) => onSocket(socket));
    server.listen(0, HOST);
    await once(server, 'listening');
    const stop = async () => {
      for (const socket of webSocketServer.clients) socket.terminate();
      webSocketServer.close();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    };
    return { ...clientOf(server.address().port), stop };
  },
});

/** The global client, wrapped at its own end; the peer is a server socket of `ws`. */
const globalClientHost = {
  name: 'global `WebSocket` (client)',
  isClient: true,
  /** WHATWG WebSockets §3.1: a client may close with 1000 and with these. */
  isClosedWith: (code) => code === 1000 || code >= 3000,
  async listen(onSocket) {
    const webSocketServer = new WebSocketServer({ port: 0, host: HOST });
    await once(webSocketServer, 'listening');
    const open = async () => {
      const arrival = once(webSocketServer, 'connection');
      const socket = new WebSocket(`ws://${HOST}:${webSocketServer.address().port}`);
      socket.addEventListener('open', () => onSocket(socket));
      const [peer] = await arrival;
      return new Peer(peer);
    };
    const stop = async () => {
      for (const socket of webSocketServer.clients) socket.terminate();
      webSocketServer.close();
      await once(webSocketServer, 'close');
    };
    return { connect: open, stop };
  },
};

/**
 * Its events are callbacks of the server, which forwards them to the connection: `close` is called inside `close()`.
 */
const bunHost = {
  name: '`Bun.serve`',
  async listen(onSocket) {
    const server = Bun.serve({
      port: 0,
      hostname: HOST,
      fetch: (request, self) =>
        self.upgrade(request, { data: {} }) ? undefined : new Response('', { status: 400 }),
      websocket: {
        open: (socket) => onSocket(socket, (connection) => (socket.data.connection = connection)),
        message: (socket, data) => socket.data.connection.handleMessage(data),
        drain: (socket) => socket.data.connection.handleDrain(),
        pong: (socket) => socket.data.connection.handlePong(),
        close: (socket, code, reason) => socket.data.connection.handleClose(code, reason),
      },
    });
    return { ...clientOf(server.port), stop: () => server.stop(true) };
  },
};

const denoHost = {
  name: '`Deno.upgradeWebSocket`',
  async listen(onSocket) {
    const abort = new AbortController();
    const options = { port: 0, hostname: HOST, signal: abort.signal, onListen: () => undefined };
    const server = Deno.serve(options, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.addEventListener('open', () => onSocket(socket));
      return response;
    });
    return {
      ...clientOf(server.addr.port),
      stop: async () => {
        abort.abort();
        await server.finished;
      },
    };
  },
};

/** Every kind of socket of this runtime. */
export const hosts = [
  ...(Bun ? [bunHost] : Deno ? [denoHost] : []),
  wsHost(WS_NAME, false),
  wsHost(`${WS_NAME} + deflate`, { serverNoContextTakeover: true, threshold: 0 }),
  wsHost(`${WS_NAME} + deflate with context`, { threshold: 0 }),
  ...(globalThis.WebSocket === undefined ? [] : [globalClientHost]),
];
