import type { Connection } from '../../src/index.js';

/** A message as the fake sockets below keep it: a copy, as the real ones put it on the wire at once. */
export interface Sent {
  readonly message: string | Uint8Array;
  readonly isBinary: boolean;
}

function copyOf(message: string | ArrayBuffer | Uint8Array): string | Uint8Array {
  return typeof message === 'string' ? message : new Uint8Array(message);
}

/**
 * A socket of uWebSockets.js 20: no events, its callbacks live on the app. Any use after the close callback throws.
 *
 * @see https://unetworking.github.io/uWebSockets.js/generated/interfaces/WebSocket.html
 */
export class UwsSocket {
  readonly sent: Sent[] = [];
  readonly ended: { code: number; reason: string }[] = [];
  corks = 0;
  /** Messages that were sent from within `cork`. */
  sentCorked = 0;
  pings = 0;
  buffered = 0;
  /** The result of `send`: 1 sent, 0 waits in the buffer, 2 dropped over the limit of the app. */
  answer: 0 | 1 | 2 = 1;
  /** The `close` callback of the app. */
  onClose: ((code: number, message: ArrayBuffer) => void) | undefined;
  #isClosed = false;
  #isCorked = false;

  /** Messages are text unless told otherwise, whatever their type. */
  send(message: string | ArrayBuffer | Uint8Array, isBinary = false): number {
    this.#assertOpen();
    if (this.#isCorked) this.sentCorked++;
    if (this.answer !== 2) this.sent.push({ message: copyOf(message), isBinary });
    return this.answer;
  }

  end(code = 1000, reason = ''): void {
    this.#assertOpen();
    this.ended.push({ code, reason });
    this.#close(code, reason);
  }

  /** Forceful: no close frame. */
  close(): void {
    this.#assertOpen();
    this.#close(1006, '');
  }

  cork(callback: () => void): this {
    this.#assertOpen();
    this.corks++;
    this.#isCorked = true;
    callback();
    this.#isCorked = false;
    return this;
  }

  ping(): number {
    this.#assertOpen();
    return ++this.pings;
  }

  getBufferedAmount(): number {
    this.#assertOpen();
    return this.buffered;
  }

  /** A message arrives: its bytes are only valid during the callback. */
  receive(connection: Connection<string, string, UwsSocket>, text: string, isBinary: boolean): void {
    const lent = Uint8Array.from(Buffer.from(text));
    connection.handleMessage(lent.buffer, isBinary);
    lent.fill(0);
  }

  #close(code: number, reason: string): void {
    this.onClose?.(code, Uint8Array.from(Buffer.from(reason)).buffer);
    this.#isClosed = true;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Error('Invalid access of closed uWS.WebSocket/SSLWebSocket.');
  }
}

/**
 * A `ServerWebSocket` of Bun: no events, its callbacks live on the server.
 *
 * @see https://bun.sh/docs/api/websockets
 */
export class BunSocket {
  readonly sent: Sent[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  readyState = 1;
  corks = 0;
  /** Messages that were sent from within `cork`. */
  sentCorked = 0;
  /** The result of `send` instead of the length: -1 waits in the buffer, 0 dropped. */
  answer: -1 | 0 | undefined;
  /** The `close` callback of the server. */
  onClose: ((code: number, reason: string) => void) | undefined;
  #isCorked = false;

  send(message: string | ArrayBuffer | Uint8Array): number {
    if (this.readyState !== 1) return 0;
    if (this.#isCorked) this.sentCorked++;
    if (this.answer !== 0)
      this.sent.push({ message: copyOf(message), isBinary: typeof message !== 'string' });
    return this.answer ?? Buffer.byteLength(message);
  }

  /** The callback comes when the peer has answered. */
  close(code = 1000, reason = ''): void {
    this.closes.push({ code, reason });
    this.readyState = 2;
    setImmediate(() => {
      this.readyState = 3;
      this.onClose?.(code, reason);
    });
  }

  terminate(): void {
    this.readyState = 3;
    this.onClose?.(1006, '');
  }

  cork(callback: () => void): void {
    this.corks++;
    this.#isCorked = true;
    callback();
    this.#isCorked = false;
  }

  ping(): number {
    return 0;
  }

  publish(): number {
    return 0;
  }
}
