import { roomsOf } from '../rooms.js';
import { idOf, type Candidate } from './candidate.js';

const TOPIC = 'bench';
const IS_BINARY = false;

/** Large enough that nothing is dropped: the other candidates have no bound that is reached here either. */
const MAX_BACKPRESSURE_BYTES = 1024 * 1024 * 1024;

/** The part of uWebSockets.js that is used here. It is not a dependency: see the README. */
interface UWebSockets {
  App(): App;
  us_socket_local_port(listening: unknown): number;
  readonly DISABLED: number;
  readonly SHARED_COMPRESSOR: number;
}

interface Publisher {
  publish(topic: string, text: string, isBinary: boolean, compress: boolean): boolean;
}

interface App extends Publisher {
  ws(pattern: string, behaviour: object): App;
  listen(host: string, port: number, callback: (listening: unknown) => void): App;
}

interface Socket extends Publisher {
  getUserData(): { readonly id: number; onText?: (text: string) => void };
  subscribe(topic: string): boolean;
  send(text: string, isBinary: boolean, compress: boolean): number;
}

interface UpgradeRequest {
  getHeader(name: string): string;
  getQuery(): string;
}

interface UpgradeResponse {
  upgrade(user: object, key: string, protocol: string, extensions: string, context: unknown): void;
}

/** uWebSockets.js: `publish`, in C++. Installed by hand, under its own name or the one in the environment. */
export const uws: Candidate = {
  module: process.env['UWS_MODULE'] ?? 'uWebSockets.js',
  // A socket's `publish` leaves itself out; there is no way to leave out more.
  cannot: ['all but 100'],
  async start({ module, compression, isIndexed, accept, rooms }) {
    const { default: library } = (await import(module)) as { default: UWebSockets };
    const byId: Socket[] = [];
    let connected = 0;
    const compress = compression !== 'none';
    const app = library.App().ws('/*', {
      compression: compress ? library.SHARED_COMPRESSOR : library.DISABLED,
      idleTimeout: 0,
      sendPingsAutomatically: false,
      maxBackpressure: MAX_BACKPRESSURE_BYTES,
      upgrade(response: UpgradeResponse, request: UpgradeRequest, context: unknown) {
        const header = (name: string): string => request.getHeader(`sec-websocket-${name}`);
        const user = { id: idOf(`?${request.getQuery()}`) };
        response.upgrade(user, header('key'), header('protocol'), header('extensions'), context);
      },
      open(socket: Socket) {
        const user = socket.getUserData();
        if (accept) user.onText = accept({ send: (text) => socket.send(text, IS_BINARY, compress) });
        if (isIndexed) byId[user.id] = socket;
        socket.subscribe(TOPIC);
        for (const room of roomsOf(rooms, user.id)) socket.subscribe(room);
        connected++;
      },
      message: (socket: Socket, data: ArrayBuffer) =>
        socket.getUserData().onText?.(Buffer.from(data).toString()),
    });
    const port = await new Promise<number>((resolve) => {
      app.listen('127.0.0.1', 0, (listening) => resolve(library.us_socket_local_port(listening)));
    });
    return {
      port,
      connected: () => connected,
      broadcast: (text) => void app.publish(TOPIC, text, IS_BINARY, compress),
      broadcastExcept: (text, [id]) => void byId[id ?? 0]?.publish(TOPIC, text, IS_BINARY, compress),
      broadcastTo: (room, text) => void app.publish(room, text, IS_BINARY, compress),
      sendTo: (id, text) => void byId[id]?.send(text, IS_BINARY, compress),
    };
  },
};
