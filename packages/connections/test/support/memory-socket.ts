import { EventEmitter } from 'node:events';
import { Connection } from '../../src/index.js';
import { onTestFinished } from './on-test-finished.js';

/** A socket in memory, for pure logic: it keeps everything that is sent, and closes when and how the test wants. */
export class MemorySocket extends EventEmitter {
  readonly sent: unknown[] = [];
  readonly closes: { readonly code: number | undefined; readonly reason: string | undefined }[] = [];
  readyState = 1;
  bufferedAmount = 0;
  readonly #answersClose: boolean;

  /** @param answersClose the peer answers a close frame at once; otherwise it says nothing until `end()` */
  constructor(answersClose = true) {
    super();
    this.#answersClose = answersClose;
  }

  send(message: unknown): void {
    this.sent.push(message);
  }

  close(code?: number, reason?: string): void {
    this.closes.push({ code, reason });
    this.readyState = 2;
    if (this.#answersClose) queueMicrotask(() => this.end(code, reason));
  }

  terminate(): void {
    this.end(1006, '');
  }

  /** The socket has closed, on either side's request. */
  end(code = 1005, reason = ''): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.emit('close', code, Buffer.from(reason));
  }
}

/** Ends the socket with the running test, for a connection whose deadline would outlive it. */
export function endingWithTest<Socket extends MemorySocket>(socket: Socket): Socket {
  onTestFinished(() => socket.end());
  return socket;
}

/** A connection on a socket in memory. */
export function connectInMemory(
  id = '1',
  namespace = 'default',
  socket = new MemorySocket(),
): { readonly socket: MemorySocket; readonly connection: Connection } {
  return { socket, connection: new Connection(id, namespace, socket) };
}
