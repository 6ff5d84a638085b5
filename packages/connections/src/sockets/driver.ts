import type { Capabilities } from './native-websocket.js';

/** `readyState` of a WebSocket (WHATWG WebSockets §3.1). */
export const ReadyState = { Connecting: 0, Open: 1, Closing: 2, Closed: 3 } as const;

/**
 * How the sockets of one kind are used: `ws`, standard, uWebSockets.js, Bun, or handlers in place of a socket's own
 * methods.
 *
 * Except for handlers, a driver keeps no state, and sockets with the same abilities share one. Every method may throw
 * whatever the socket throws.
 */
export interface Driver {
  readonly capabilities: Capabilities;
  /** @returns `false` if the socket says that it has not taken the message; a promise if that is known later */
  send(socket: unknown, message: unknown, isBinary: boolean): unknown;
  /** Begins the closing handshake (RFC 6455 §7.1.2). @returns a promise if the socket tells when it is closed */
  close(socket: unknown, code: number, reason: string): unknown;
  /** Ends the socket without a closing handshake. @returns `false` if the socket has no way to do that */
  terminate(socket: unknown): boolean;
  /** Only if `capabilities.ping`. */
  ping(socket: unknown): void;
  /** Bytes that wait in the socket; 0 if it does not tell. */
  bufferedAmount(socket: unknown): number;
  /** `Open` if the socket does not tell. */
  readyState(socket: unknown): number;
  /** Runs `sends` so that they leave in one write, if the socket can do that. */
  cork(socket: unknown, sends: () => void): void;
}
