import { StandardDriver } from './standard.js';

/** What `send` returns for a message that was dropped, but also for an empty one that was sent. */
const DROPPED = 0;

interface BunSocket {
  send(message: unknown): number;
  getBufferedAmount?(): number;
}

/** Sockets of `Bun.serve`: their owner forwards events through the connection's `handle…` methods. */
export class BunDriver extends StandardDriver {
  override send(socket: unknown, message: unknown, _isBinary: boolean): unknown {
    const answer = (socket as BunSocket).send(message);
    return answer === DROPPED ? isEmpty(message) : answer;
  }

  override bufferedAmount(socket: unknown): number {
    return (socket as BunSocket).getBufferedAmount?.() ?? super.bufferedAmount(socket);
  }
}

function isEmpty(message: unknown): boolean {
  return (typeof message === 'string' ? message.length : (message as ArrayBufferView).byteLength) === 0;
}
