import {
  hasProgressed,
  isBusy,
  isReadableWs,
  progressOf,
  type Progress,
  type WsSocket,
} from '../sockets/ws.js';

/** A peer that we do not read from is given this many times the timeout. */
const MAX_PAUSED_TIMEOUTS = 10;

/**
 * Whether a peer is alive although no complete message and no pong of it has arrived: a pong cannot overtake the frame
 * that the peer is sending, nor can the peer answer a ping that waits for the bytes before it.
 *
 * Only `ws` sockets tell about their bytes. Costs nothing until a connection is about to be declared dead.
 */
export class SignsOfLife {
  readonly #socket: unknown;
  #progress: Progress | undefined;
  #pausedSinceMs: number | undefined;
  #lookedAtMs = 0;

  constructor(socket: unknown) {
    this.#socket = socket;
  }

  /**
   * Asked each time that `timeoutMs` have passed in silence.
   *
   * @param heardAtMs when something was last received: what was seen before that does not count
   * @param isPaused we have stopped reading, of whatever kind the socket is
   */
  areThere(nowMs: number, timeoutMs: number, heardAtMs: number, isPaused = false): boolean {
    if (heardAtMs > this.#lookedAtMs) this.#progress = this.#pausedSinceMs = undefined;
    this.#lookedAtMs = nowMs;
    if (isPaused || (this.#socket as { readonly isPaused?: unknown }).isPaused === true) {
      this.#pausedSinceMs ??= nowMs;
      return nowMs - this.#pausedSinceMs < timeoutMs * MAX_PAUSED_TIMEOUTS;
    }
    this.#pausedSinceMs = undefined;
    return isReadableWs(this.#socket) && this.#isMoving(this.#socket);
  }

  #isMoving(socket: WsSocket): boolean {
    const earlier = this.#progress;
    this.#progress = isBusy(socket) ? progressOf(socket) : undefined;
    if (this.#progress === undefined) return false;
    // The first time there is nothing to compare with: the peer gets the benefit of the doubt.
    return earlier === undefined || hasProgressed(socket, earlier);
  }
}
