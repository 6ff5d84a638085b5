import { kFailed } from './outbox-owner.js';
import type { SocketDriver } from './socket-driver.js';

export const kHeard = Symbol('heard');

/** Where the events of a socket go. */
export interface SocketListener {
  handleMessage(data: unknown, isBinary?: boolean): void;
  handleClose(code?: number, reason?: unknown): void;
  handlePong(): void;
  [kFailed](error: unknown): void;
  /** Something arrived that nobody is told of: a ping of the peer. */
  [kHeard](): void;
}

const kListener = Symbol('connection');

/** What listeners are called on: the socket itself, or a stand-in that they are bound to. */
interface Target {
  [kListener]: SocketListener;
}

interface Emitter {
  on(event: string, listener: (this: Target, ...args: never[]) => void): unknown;
}

interface EventTargetLike {
  binaryType?: string;
  addEventListener(event: string, listener: (this: Target, event: never) => void): unknown;
}

/** A message in a form that cannot be read must not throw into the socket, from where it would end the process. */
function hand(listener: SocketListener, data: unknown, isBinary?: boolean): void {
  try {
    listener.handleMessage(data, isBinary);
  } catch (error) {
    listener[kFailed](error);
  }
}

/*
 * Functions that all sockets share and that find their connection through `this`: one closure per listener and
 * connection would cost more than the rest of the connection.
 */
const emitterListeners = {
  message(this: Target, data: unknown, isBinary?: boolean): void {
    hand(this[kListener], data, isBinary);
  },
  close(this: Target, code?: number, reason?: unknown): void {
    this[kListener].handleClose(code, reason);
  },
  error(this: Target, error: unknown): void {
    this[kListener][kFailed](error);
  },
  ping(this: Target): void {
    this[kListener][kHeard]();
  },
  pong(this: Target): void {
    this[kListener].handlePong();
  },
};

const eventTargetListeners = {
  message(this: Target, event: { readonly data: unknown }): void {
    const { data } = event;
    // A view: the buffer is ours, unlike one that a callback of uWebSockets.js lends.
    hand(this[kListener], data instanceof ArrayBuffer ? new Uint8Array(data) : data);
  },
  close(this: Target, event: { readonly code?: number; readonly reason?: string }): void {
    this[kListener].handleClose(event.code, event.reason);
  },
  // No part of the standard, but Bun tells of them.
  ping(this: Target): void {
    this[kListener][kHeard]();
  },
  pong(this: Target): void {
    this[kListener].handlePong();
  },
  error(this: Target, event: { readonly error?: unknown; readonly message?: string }): void {
    this[kListener][kFailed](event.error ?? new Error(event.message || 'The socket failed'));
  },
};

/** Has the socket tell the connection what happens on it. */
export function listen(socket: unknown, { capabilities }: SocketDriver, listener: SocketListener): void {
  if (capabilities.events === 'owner') return;
  const target = ownTarget(socket as object, listener);
  const bound = <Args extends never[]>(shared: (this: Target, ...args: Args) => void): typeof shared =>
    target === socket ? shared : shared.bind(target);
  if (capabilities.events === 'emitter') {
    const emitter = socket as Emitter;
    for (const [event, shared] of Object.entries(emitterListeners)) emitter.on(event, bound(shared));
    return;
  }
  const eventTarget = socket as EventTargetLike;
  // A Blob would have to be read first, and could be overtaken by the message behind it.
  if ('binaryType' in eventTarget) eventTarget.binaryType = 'arraybuffer';
  for (const [event, shared] of Object.entries(eventTargetListeners)) {
    eventTarget.addEventListener(event, bound(shared));
  }
}

/** The socket itself for its first connection; a stand-in for further ones, and for sockets that are sealed. */
function ownTarget(socket: object, listener: SocketListener): Target {
  const isFree = !(kListener in socket) && Object.isExtensible(socket);
  const target = (isFree ? socket : {}) as Target;
  target[kListener] = listener;
  return target;
}
