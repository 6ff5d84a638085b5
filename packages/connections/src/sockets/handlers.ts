import type { Driver } from './driver.js';
import type { Capabilities, NativeConnectionHandlers } from './native-websocket.js';

/** A socket whose own `send` and `close` are replaced by the user's handlers. */
export class HandlersDriver implements Driver {
  readonly capabilities: Capabilities;
  readonly #handlers: NativeConnectionHandlers<never>;
  readonly #socketDriver: Driver;

  constructor(handlers: NativeConnectionHandlers<never>, socketDriver: Driver) {
    this.#handlers = handlers;
    this.#socketDriver = socketDriver;
    this.capabilities = socketDriver.capabilities;
  }

  send(_socket: unknown, message: unknown, _isBinary: boolean): unknown {
    return this.#handlers.send(message as never);
  }

  /** The promise of the handler reports that the socket has closed. */
  async close(_socket: unknown, code: number, reason: string): Promise<void> {
    await this.#handlers.close(code, reason);
  }

  terminate(socket: unknown): boolean {
    return this.#socketDriver.terminate(socket);
  }

  ping(socket: unknown): void {
    this.#socketDriver.ping(socket);
  }

  bufferedAmount(socket: unknown): number {
    return this.#socketDriver.bufferedAmount(socket);
  }

  readyState(socket: unknown): number {
    return this.#socketDriver.readyState(socket);
  }

  cork(_socket: unknown, sends: () => void): void {
    sends();
  }
}
