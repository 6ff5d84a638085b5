import type { Driver } from '../sockets/driver.js';
import { WsDriver, type Progress, type WsSocket } from '../sockets/ws.js';

/** A peer that we do not read from is given this many times the timeout. */
const MAX_PAUSED_TIMEOUTS = 10;

/**
 * Whether a peer is alive although no complete message and no pong of it has arrived: a pong cannot overtake the frame
 * that the peer is sending, nor can it answer a ping that waits for the bytes before it.
 *
 * Only `ws` sockets tell. Costs nothing until a connection is about to be declared dead.
 */
export class SignsOfLife {
  readonly #socket: unknown;
  readonly #driver: Driver;
  #progress: Progress | undefined;
  #pausedSinceMs: number | undefined;

  constructor(socket: unknown, driver: Driver) {
    this.#socket = socket;
    this.#driver = driver;
  }

  /** Asked each time that `timeoutMs` have passed in silence. */
  areThere(nowMs: number, timeoutMs: number): boolean {
    const driver = this.#driver;
    if (!(driver instanceof WsDriver)) return false;
    const socket = this.#socket as WsSocket;
    if (driver.isPaused(socket)) {
      this.#pausedSinceMs ??= nowMs;
      return nowMs - this.#pausedSinceMs < timeoutMs * MAX_PAUSED_TIMEOUTS;
    }
    this.#pausedSinceMs = undefined;
    const earlier = this.#progress;
    this.#progress = driver.isBusy(socket) ? driver.progress(socket) : undefined;
    if (this.#progress === undefined) return false;
    // The first time there is nothing to compare with: it gets the benefit of the doubt.
    return earlier === undefined || driver.hasProgressed(socket, earlier);
  }
}
