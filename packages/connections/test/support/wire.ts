import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { WebSocket } from 'ws';
import type { Loopback } from './loopback.js';
import { onTestFinished } from './on-test-finished.js';
import { upgradeRequest } from './raw-client.js';
import { takeFrame, type WireFrame } from './strict-reader.js';

/** A client that only upgrades: received bytes are kept, and nothing is answered. */
export class WireClient {
  readonly client: net.Socket;
  /** The server's `ws` socket. */
  readonly socket: WebSocket;
  #bytes: Buffer = Buffer.alloc(0);

  private constructor(client: net.Socket, socket: WebSocket) {
    this.client = client;
    this.socket = socket;
  }

  /** @param extensions the extensions that it offers */
  static async connect({ server }: Loopback, extensions = ''): Promise<WireClient> {
    const accepted = once(server, 'connection') as Promise<[WebSocket]>;
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => undefined);
    onTestFinished(() => void client.destroy());
    client.write(upgradeRequest(extensions));
    const [[socket]] = await Promise.all([accepted, once(client, 'readable')]);
    const wire = new WireClient(client, socket);
    wire.#skipHandshake();
    client.on('data', (chunk: Buffer) => (wire.#bytes = Buffer.concat([wire.#bytes, chunk])));
    return wire;
  }

  #skipHandshake(): void {
    const head = this.client.read() as Buffer;
    this.#bytes = head.subarray(head.indexOf('\r\n\r\n') + 4);
  }

  /** The next bytes, as many as requested. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) await once(this.client, 'data');
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  /** The next frame. */
  async frame(): Promise<WireFrame> {
    for (;;) {
      const taken = takeFrame(this.#bytes);
      if (taken !== undefined) {
        this.#bytes = this.#bytes.subarray(taken.byteLength);
        return taken.frame;
      }
      await once(this.client, 'data');
    }
  }

  /** Received bytes that were not taken. Exact after a `socket.ping()` of the server has been taken. */
  get rest(): number {
    return this.#bytes.length;
  }
}
