import { StandardDriver } from './standard.js';

/** What `send` returns for a message that would have exceeded `maxBackpressure`. */
const DROPPED = 2;

interface UwsSocket {
  send(message: unknown, isBinary: boolean): number;
  /** The closing handshake; `close()` ends the socket at once. */
  end(code: number, reason: string): void;
  close(): void;
  getBufferedAmount(): number;
}

/** uWebSockets.js: its owner forwards events through the connection's `handle…` methods. */
export class UwsDriver extends StandardDriver {
  override send(socket: unknown, message: unknown, isBinary: boolean): unknown {
    // Without the second argument everything is sent as text.
    return (socket as UwsSocket).send(message, isBinary) !== DROPPED;
  }

  override close(socket: unknown, code: number, reason: string): unknown {
    (socket as UwsSocket).end(code, reason);
    return undefined;
  }

  override terminate(socket: unknown): boolean {
    (socket as UwsSocket).close();
    return true;
  }

  override bufferedAmount(socket: unknown): number {
    return (socket as UwsSocket).getBufferedAmount();
  }
}
