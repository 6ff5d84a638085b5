import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { StrictInflater } from './inflate.js';
import { Client, type Loopback } from './loopback.js';

/** One message as it was on the wire, fragments put together. */
export interface TappedMessage {
  readonly isCompressed: boolean;
  readonly isBinary: boolean;
  /** Payload bytes on the wire. */
  readonly wire: Buffer;
  /** As our own decoder understands it. */
  readonly message: Buffer;
  /** See `Inflated`. 0 when it is not compressed. */
  readonly reachBytes: number;
}

const [FIN, RSV1, OPCODE] = [0x80, 0x40, 0x0f];
const [CONTINUATION, BINARY, CLOSE] = [0, 2, 8];

interface OpenMessage {
  readonly firstByte: number;
  readonly parts: Buffer[];
}

/** A decoder of our own beside the one of the client: it reads the same bytes. */
class Tap {
  readonly messages: TappedMessage[] = [];
  /** What it could not decode. */
  failure: Error | undefined;
  readonly #inflater: () => StrictInflater;
  #bytes: Buffer = Buffer.alloc(0);
  #open: OpenMessage | undefined;

  /** @param extensions what was agreed */
  constructor(extensions: string) {
    const windowBits = Number(/server_max_window_bits=(\d+)/.exec(extensions)?.[1] ?? 15);
    const inflater = new StrictInflater(windowBits);
    const isStateless = extensions.includes('server_no_context_takeover');
    this.#inflater = () => (isStateless ? new StrictInflater(windowBits) : inflater);
  }

  read(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    try {
      while (this.failure === undefined && this.#frame());
    } catch (error) {
      this.failure = error as Error;
    }
  }

  /** Takes one frame, if all of it is there (RFC 6455 §5.2). */
  #frame(): boolean {
    const bytes = this.#bytes;
    const offset = 2 + extraBytes(bytes[1]);
    if (bytes.length < offset) return false;
    const length =
      offset === 2 ? bytes[1]! : offset === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    if (bytes.length < offset + length) return false;
    this.#bytes = bytes.subarray(offset + length);
    this.#take(bytes[0]!, bytes.subarray(offset, offset + length));
    return true;
  }

  #take(firstByte: number, payload: Buffer): void {
    const opcode = firstByte & OPCODE;
    if (opcode >= CLOSE) return;
    if ((opcode === CONTINUATION) !== (this.#open !== undefined)) throw new Error('A message within another');
    const open = (this.#open ??= { firstByte, parts: [] });
    open.parts.push(payload);
    if ((firstByte & FIN) === 0) return;
    this.#open = undefined;
    const wire = Buffer.concat(open.parts);
    const isCompressed = (open.firstByte & RSV1) !== 0;
    const isBinary = (open.firstByte & OPCODE) === BINARY;
    const inflated = isCompressed ? this.#inflater().inflate(wire) : { message: wire, reachBytes: 0 };
    this.messages.push({ isCompressed, isBinary, wire, ...inflated });
  }
}

function extraBytes(lengthByte = 0): number {
  return lengthByte < 126 ? 0 : lengthByte === 126 ? 2 : 8;
}

/** A `ws` client whose incoming bytes are decoded a second time, strictly. */
export class TappedClient extends Client {
  #tap!: Tap;

  constructor(socket: WebSocket) {
    super(socket);
    // In the event: the first bytes may come before a promise of it resolves.
    socket.once('open', () => {
      this.#tap = new Tap(socket.extensions);
      (socket as unknown as { _socket: Socket })._socket.on('data', (chunk: Buffer) => this.#tap.read(chunk));
    });
  }

  /** Every message so far. @throws {Error} one refers to what this client's window does not hold */
  get tapped(): readonly TappedMessage[] {
    if (this.#tap.failure !== undefined) throw this.#tap.failure;
    return this.#tap.messages;
  }

  /** The messages that have come by now, by our own decoder, which has to agree with `ws`. */
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

/** Connects one client. Sequentially only: it takes the next socket that the server accepts. */
export async function connectTapped(
  { server, url }: Loopback,
  options: ConstructorParameters<typeof WebSocket>[2] = {},
): Promise<TappedPair> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const client = new TappedClient(new WebSocket(url, options));
  const [[socket]] = await Promise.all([accepted, once(client.socket, 'open')]);
  return { client, socket };
}
