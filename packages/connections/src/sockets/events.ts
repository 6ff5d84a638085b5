import { EventEmitter } from 'node:events';
import type { Driver } from './driver.js';

/** Where the events of a socket go. */
export interface SocketListener {
  handleMessage(data: unknown, isBinary?: boolean): void;
  handleClose(code?: number, reason?: unknown): void;
  handlePing(): void;
  handlePong(): void;
  failed(error: unknown): void;
}

/** Marks the socket with its listener. */
const kListener = Symbol('soketi.connections.listener');

/**
 * What listeners are called on: the socket itself, or a stand-in that they are bound to. `undefined`: an earlier listener
 * of the same event has released the connection, and the emitter goes through the list that it had before.
 */
interface ListenerTarget {
  [kListener]?: SocketListener | undefined;
}

type Listener = (this: ListenerTarget, ...args: never[]) => void;

interface Emitter {
  binaryType?: string;
  on(event: string, listener: Listener): unknown;
  off?(event: string, listener: Listener): unknown;
}

interface EventTargetLike {
  binaryType?: string;
  addEventListener(event: string, listener: Listener): unknown;
  removeEventListener?(event: string, listener: Listener): unknown;
}

/** A message in a form that cannot be read must not throw into the socket: that would end the process. */
function hand(listener: SocketListener | undefined, data: unknown, isBinary?: boolean): void {
  try {
    listener?.handleMessage(data, isBinary);
  } catch (error) {
    listener?.failed(error);
  }
}

/*
 * All sockets share these functions, which find their listener through `this`: a closure per event and connection would
 * cost more than the rest of the connection.
 */
const emitterListeners = {
  message(this: ListenerTarget, data: unknown, isBinary?: boolean): void {
    hand(this[kListener], data, isBinary);
  },
  close(this: ListenerTarget, code?: number, reason?: unknown): void {
    this[kListener]?.handleClose(code, reason);
  },
  error(this: ListenerTarget, error: unknown): void {
    this[kListener]?.failed(error);
  },
  ping(this: ListenerTarget): void {
    this[kListener]?.handlePing();
  },
  pong(this: ListenerTarget): void {
    this[kListener]?.handlePong();
  },
} satisfies Record<string, Listener>;

const eventTargetListeners = {
  message(this: ListenerTarget, event: { readonly data: unknown }): void {
    const { data } = event;
    // A view: this buffer is ours, unlike one that uWebSockets.js lends to a callback.
    hand(this[kListener], data instanceof ArrayBuffer ? new Uint8Array(data) : data);
  },
  close(this: ListenerTarget, event: { readonly code?: number; readonly reason?: string }): void {
    this[kListener]?.handleClose(event.code, event.reason);
  },
  // Ping and pong events are not in the standard, but Bun has them.
  ping(this: ListenerTarget): void {
    this[kListener]?.handlePing();
  },
  pong(this: ListenerTarget): void {
    this[kListener]?.handlePong();
  },
  error(this: ListenerTarget, event: { readonly error?: unknown; readonly message?: string }): void {
    this[kListener]?.failed(event.error ?? new Error(event.message || 'The socket failed'));
  },
} satisfies Record<string, Listener>;

type Listeners = readonly (readonly [event: string, listener: Listener])[];

interface Bound {
  readonly listeners: Listeners;
  readonly standIn: ListenerTarget;
}

/** The bound functions of listeners that have a stand-in, and how many of these a socket has. */
const boundListeners = new WeakMap<SocketListener, Bound>();
const standIns = new WeakMap<object, number>();

function addStandIns(socket: object, count: number): void {
  standIns.set(socket, (standIns.get(socket) ?? 0) + count);
}

/** Whether the shared listeners can find theirs on the socket. A wrapper may have them called on a socket inside it. */
function callsOnItself({ on, addEventListener }: Partial<Emitter & EventTargetLike>): boolean {
  const subscribe: unknown = on ?? addEventListener;
  return subscribe === EventEmitter.prototype.on || subscribe === EventTarget.prototype.addEventListener;
}

/** Subscribes the listener to the events of the socket. */
export function listen(socket: unknown, { capabilities }: Driver, listener: SocketListener): void {
  if (capabilities.events === 'owner') return;
  const shared = Object.entries<Listener>(
    capabilities.events === 'emitter' ? emitterListeners : eventTargetListeners,
  );
  let listeners: Listeners = shared;
  const isMarked = kListener in (socket as object);
  if (isMarked || !Object.isExtensible(socket) || !callsOnItself(socket as object)) {
    // A further connection over the same socket, a sealed socket, or a wrapper.
    const standIn: ListenerTarget = { [kListener]: listener };
    listeners = shared.map(([event, fn]) => [event, fn.bind(standIn)] as const);
    boundListeners.set(listener, { listeners, standIn });
    addStandIns(socket as object, 1);
  } else {
    (socket as ListenerTarget)[kListener] = listener;
  }
  if (capabilities.events === 'emitter') {
    for (const [event, fn] of listeners) (socket as Emitter).on(event, fn);
    return;
  }
  const eventTarget = socket as EventTargetLike;
  // A Blob would have to be read first.
  if ('binaryType' in eventTarget) eventTarget.binaryType = 'arraybuffer';
  for (const [event, fn] of listeners) eventTarget.addEventListener(event, fn);
}

/** Undoes `listen`. */
export function unlisten(socket: unknown, { capabilities }: Driver, listener: SocketListener): void {
  if (capabilities.events === 'owner') return;
  const isEmitter = capabilities.events === 'emitter';
  const bound = boundListeners.get(listener);
  const listeners =
    bound?.listeners ?? Object.entries<Listener>(isEmitter ? emitterListeners : eventTargetListeners);
  if (bound === undefined && (socket as Partial<ListenerTarget>)[kListener] !== listener) return;
  for (const [event, fn] of listeners) {
    if (isEmitter) (socket as Emitter).off?.(event, fn);
    else (socket as EventTargetLike).removeEventListener?.(event, fn);
  }
  if (bound === undefined) Reflect.deleteProperty(socket as object, kListener);
  else {
    bound.standIn[kListener] = undefined;
    addStandIns(socket as object, -1);
  }
  boundListeners.delete(listener);
}

/** Whether other code listens for messages of the socket, too; `false` if that cannot be known. */
export function hasOtherListeners(socket: unknown): boolean {
  const { listenerCount } = socket as { listenerCount?: unknown };
  if (typeof listenerCount !== 'function') return false;
  const ownListeners = (kListener in (socket as object) ? 1 : 0) + (standIns.get(socket as object) ?? 0);
  return (listenerCount.call(socket, 'message') as number) > ownListeners;
}

/** The library's listener on the socket; the first one if there are several. */
export function listenerOf(socket: unknown): SocketListener | undefined {
  return (socket as Partial<ListenerTarget>)[kListener];
}
