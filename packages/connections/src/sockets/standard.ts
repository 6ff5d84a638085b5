import { ReadyState, type Driver } from './driver.js';
import type { Capabilities } from './native-websocket.js';

/** Every member that a standard socket may have; probing finds out which of them are there. */
interface StandardSocket {
  readonly readyState?: number;
  readonly bufferedAmount?: number;
  send(message: unknown): unknown;
  close(code?: number, reason?: string): unknown;
  terminate(): unknown;
  ping(): unknown;
  cork(callback: () => void): unknown;
}

/** Sockets with the names and meanings of the WHATWG WebSocket, and what Node libraries add to them. */
export class StandardDriver implements Driver {
  readonly capabilities: Capabilities;

  constructor(capabilities: Capabilities) {
    this.capabilities = capabilities;
  }

  send(socket: unknown, message: unknown, _isBinary: boolean): unknown {
    return (socket as StandardSocket).send(message);
  }

  close(socket: unknown, code: number, reason: string): unknown {
    return (socket as StandardSocket).close(code, reason);
  }

  terminate(socket: unknown): boolean {
    if (this.capabilities.terminate) {
      (socket as StandardSocket).terminate();
      return true;
    }
    // Without a code: the WHATWG `close()` throws for most codes, and the socket would stay open for ever.
    try {
      Promise.resolve((socket as Partial<StandardSocket>).close?.()).catch(() => undefined);
    } catch {
      // The first attempt, with a code, has failed and been reported already.
    }
    return false;
  }

  ping(socket: unknown): void {
    (socket as StandardSocket).ping();
  }

  bufferedAmount(socket: unknown): number {
    return this.capabilities.bufferedAmount ? ((socket as StandardSocket).bufferedAmount ?? 0) : 0;
  }

  readyState(socket: unknown): number {
    return (
      (this.capabilities.readyState ? (socket as StandardSocket).readyState : undefined) ?? ReadyState.Open
    );
  }

  cork(socket: unknown, sends: () => void): void {
    if (!this.capabilities.cork) {
      sends();
      return;
    }
    let hasRun = false;
    const once = (): void => {
      hasRun = true;
      sends();
    };
    try {
      (socket as StandardSocket).cork(once);
    } catch {
      // The socket is gone. The sends below fail one by one, each with its own error.
    }
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- the callback sets it
    if (!hasRun) sends();
  }
}
