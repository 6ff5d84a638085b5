import { idOf, type Candidate } from './candidate.js';
import type { ServerSettings } from '../load.js';

const TOPIC = 'bench';

/** Nothing is dropped: the other candidates have no bound that is reached here either. */
const MAX_BACKPRESSURE_BYTES = 1024 * 1024 * 1024;

interface Socket {
  getUserData(): { readonly id: number };
  subscribe(topic: string): boolean;
  publish(topic: string, text: string, isBinary: boolean, compress: boolean): boolean;
  send(text: string, isBinary: boolean, compress: boolean): number;
}

interface App {
  ws(pattern: string, behaviour: object): App;
  listen(host: string, port: number, callback: (listening: unknown) => void): App;
  publish(topic: string, text: string, isBinary: boolean, compress: boolean): boolean;
}

/** What is used here of uWebSockets.js, which is no dependency: see the README. */
interface UWebSockets {
  App(): App;
  us_socket_local_port(listening: unknown): number;
  readonly DISABLED: number;
  readonly SHARED_COMPRESSOR: number;
}

/** Its module: installed by hand, under its own name or the one in the environment. */
export const UWS_MODULE = process.env['UWS_MODULE'] ?? 'uWebSockets.js';

/** uWebSockets.js: `publish`, in C++. */
export async function uws(): Promise<Candidate> {
  const imported = (await import(UWS_MODULE)) as { default: UWebSockets };
  return candidate(imported.default);
}

function candidate(library: UWebSockets): Candidate {
  const app = library.App();
  const byId: Socket[] = [];
  let connected = 0;
  let compress = false;
  const behaviour = ({ isIndexed, isEchoing }: ServerSettings): object => ({
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
      socket.subscribe(TOPIC);
      if (isIndexed) byId[socket.getUserData().id] = socket;
      connected++;
    },
    ...(isEchoing && {
      message: (_socket: Socket, data: ArrayBuffer) =>
        app.publish(TOPIC, Buffer.from(data).toString(), false, compress),
    }),
  });
  return {
    listen(settings) {
      compress = settings.compression !== 'none';
      return new Promise((resolve) => {
        app.ws('/*', behaviour(settings)).listen('127.0.0.1', 0, (listening) => {
          resolve(library.us_socket_local_port(listening));
        });
      });
    },
    connected: () => connected,
    broadcast: (text) => void app.publish(TOPIC, text, false, compress),
    // A socket's `publish` leaves itself out; there is no way to leave out more.
    broadcastExcept: (text, [id]) => void byId[id ?? 0]?.publish(TOPIC, text, false, compress),
    sendTo: (id, text) => void byId[id]?.send(text, false, compress),
  };
}

interface UpgradeRequest {
  getHeader(name: string): string;
  getQuery(): string;
}

interface UpgradeResponse {
  upgrade(user: object, key: string, protocol: string, extensions: string, context: unknown): void;
}
