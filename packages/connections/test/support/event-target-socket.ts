import { WebSocket } from 'ws';

/**
 * A `ws` client as browsers, Deno and Workers show a socket: `addEventListener` and nothing of Node, with the
 * rules of the WHATWG standard for `send` and `close`.
 */
export class EventTargetSocket extends EventTarget {
  binaryType: 'blob' | 'arraybuffer' = 'blob';
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
    socket.on('open', () => this.dispatchEvent(new Event('open')));
    socket.on('message', (data: Buffer, isBinary) => {
      this.#dispatch('message', { data: isBinary ? this.#binary(data) : data.toString() });
    });
    socket.on('close', (code, reason) => this.#dispatch('close', { code, reason: reason.toString() }));
    socket.on('error', () => this.#dispatch('error', {}));
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: string | ArrayBuffer | Uint8Array): void {
    if (this.readyState === WebSocket.CONNECTING)
      throw new DOMException('Still connecting', 'InvalidStateError');
    if (this.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  close(code?: number, reason?: string): void {
    const isAllowed = code === undefined || code === 1000 || (code >= 3000 && code <= 4999);
    if (!isAllowed) throw new DOMException(`${code} is not allowed`, 'InvalidAccessError');
    this.#socket.close(code, reason);
  }

  #binary(data: Buffer): Blob | ArrayBuffer {
    return this.binaryType === 'blob' ? new Blob([Uint8Array.from(data)]) : Uint8Array.from(data).buffer;
  }

  #dispatch(type: string, members: object): void {
    this.dispatchEvent(Object.assign(new Event(type), members));
  }
}
