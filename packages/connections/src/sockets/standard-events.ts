import type { EventEmitter } from 'node:events';
import { CloseCode } from '../close-codes.js';

/** What the listeners of `addEventListener` get, as from the standard `WebSocket`. */
export interface PairedSocketEvents {
  readonly open: PairedEvent;
  readonly message: PairedEvent & {
    /** Text as a string; bytes as `binaryType` says. */
    readonly data: unknown;
  };
  readonly close: PairedEvent & {
    readonly code: number;
    readonly reason: string;
    /** There was a close frame. */
    readonly wasClean: boolean;
  };
  readonly error: PairedEvent;
}

/** An event of a socket in memory. */
export interface PairedEvent {
  readonly type: string;
  /** The socket. */
  readonly target: unknown;
}

/** A listener of `addEventListener`, `onmessage` and so on. */
export type PairedListener<Type extends keyof PairedSocketEvents = keyof PairedSocketEvents> = (
  event: PairedSocketEvents[Type],
) => void;

type AnyListener = (event: never) => void;
type EmitterListener = (...args: unknown[]) => void;

type Source = EventEmitter & { readonly binaryType: 'nodebuffer' | 'arraybuffer' | 'blob' };

const STANDARD = ['open', 'message', 'close', 'error'];

/** `addEventListener` of the standard `WebSocket`, over the emitter of a socket. */
export class StandardEvents {
  readonly #socket: Source;
  /** What listens on the emitter for them: for each type, by listener. */
  readonly #added = new Map<string, Map<AnyListener, EmitterListener>>();

  constructor(socket: Source) {
    this.#socket = socket;
  }

  /** The same listener twice is added once. */
  add(type: string, listener: AnyListener, { once = false }: { readonly once?: boolean } = {}): void {
    if (!STANDARD.includes(type)) return;
    const ofType = this.#added.get(type) ?? new Map<AnyListener, EmitterListener>();
    this.#added.set(type, ofType);
    if (ofType.has(listener)) return;
    const call = (...args: unknown[]): void => {
      if (once) this.remove(type, listener);
      listener.call(this.#socket, eventOf(this.#socket, type, args) as never);
    };
    ofType.set(listener, call);
    this.#socket.on(type, call);
  }

  remove(type: string, listener: AnyListener): void {
    const call = this.#added.get(type)?.get(listener);
    if (call === undefined) return;
    this.#added.get(type)?.delete(listener);
    this.#socket.off(type, call);
  }
}

/** The standard event for what an emitter of the kind of `ws` emits. */
export function eventOf(socket: Source, type: string, [first, second]: readonly unknown[]): PairedEvent {
  const event = { type, target: socket };
  if (type === 'message') return Object.assign(event, dataOf(socket, first as Buffer, second));
  if (type !== 'close') return event;
  const reason = (second as Buffer).toString();
  return Object.assign(event, { code: first, reason, wasClean: first !== CloseCode.Abnormal });
}

function dataOf({ binaryType }: Source, bytes: Buffer, isBinary: unknown): { data: unknown } {
  if (isBinary !== true) return { data: bytes.toString() };
  if (binaryType === 'nodebuffer') return { data: bytes };
  const copy = Uint8Array.from(bytes);
  return { data: binaryType === 'blob' ? new Blob([copy]) : copy.buffer };
}
