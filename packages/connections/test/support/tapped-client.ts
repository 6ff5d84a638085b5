import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { digest } from './engine.js';
import { Client, type Loopback } from './loopback.js';
import { StrictReader, type TappedMessage } from './strict-reader.js';

/** A `ws` client whose incoming bytes are read a second time, strictly. */
export class TappedClient extends Client {
  #reader!: StrictReader;

  constructor(socket: WebSocket) {
    super(socket);
    // In the event listener: the first bytes may arrive before a promise resolves.
    socket.once('open', () => {
      this.#reader = new StrictReader(socket.extensions);
      const { _socket: tcp } = socket as unknown as { readonly _socket: Socket };
      tcp.on('data', (chunk: Buffer) => this.#reader.read(chunk));
    });
  }

  /** Every message so far. @throws {Error} the server has sent something that RFC 6455 or RFC 7692 forbids */
  get tapped(): readonly TappedMessage[] {
    if (this.violation !== undefined) throw this.violation;
    return this.#reader.messages;
  }

  /** What the server should not have sent. */
  get violation(): Error | undefined {
    return this.#reader.violation;
  }

  /** The messages that have arrived so far, by our own decoder, which has to agree with `ws`. */
  async settled(): Promise<readonly TappedMessage[]> {
    await this.roundTrip();
    return this.tapped;
  }
}

export interface TappedPair {
  readonly client: TappedClient;
  /** The server's `ws` socket. */
  readonly socket: WebSocket;
}

/** Connects one client. Not concurrently: it takes the next socket that the server accepts. */
export async function connectTapped(
  { server, url }: Loopback,
  options: ConstructorParameters<typeof WebSocket>[2] = {},
): Promise<TappedPair> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const client = new TappedClient(new WebSocket(url, options));
  const [[socket]] = await Promise.all([accepted, once(client.socket, 'open')]);
  return { client, socket };
}

/**
 * `ws` and our own decoder understand the output of the server in the same way, and it broke no rule. Only the first
 * messages of a closed client are compared: one of the two may have read what was still in its socket when it closed.
 */
export function expectAlike(client: TappedClient, label: string): void {
  expect(client.violation, label).toBeUndefined();
  const { socket, inbox, tapped } = client;
  const strict = tapped.map(({ message, isBinary }) => digest(isBinary ? message : String(message)));
  const received = inbox.map(digest);
  const isOpen = socket.readyState === socket.OPEN;
  const length = isOpen ? undefined : Math.min(strict.length, received.length);
  expect(strict.slice(0, length), label).toEqual(received.slice(0, length));
}
