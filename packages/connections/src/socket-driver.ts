import { expected } from './errors.js';
import type { Capabilities } from './native-websocket.js';

/** `readyState` of a WebSocket (WHATWG WebSockets §3.1). */
export const ReadyState = { Connecting: 0, Open: 1, Closing: 2, Closed: 3 } as const;

/** What `send` of uWebSockets.js returns for a message that would have exceeded its `maxBackpressure`. */
const UWS_DROPPED = 2;
/** What `send` of a Bun server's socket returns for such a message, and for an empty one, which is sent. */
const BUN_DROPPED = 0;

/** What a kind of socket means by names that others share. */
interface Dialect {
  /** uWebSockets.js: `end` is the closing handshake, and `send` has to be told what is binary. */
  readonly isUws: boolean;
  /** What waits is told by a method: uWebSockets.js and Bun. */
  readonly hasBufferedAmountMethod: boolean;
}

/** Every member that some kind of socket has; which of them are there is what probing finds out. */
interface AnySocket {
  readonly readyState?: number;
  readonly bufferedAmount?: number;
  send(message: unknown, isBinary?: boolean): unknown;
  close(code?: number, reason?: string): unknown;
  /** Only uWebSockets.js: the closing handshake. Its `close()` ends the socket at once. */
  end(code: number, reason: string): unknown;
  /** uWebSockets.js and Bun. */
  getBufferedAmount(): number;
  terminate(): unknown;
  ping(): unknown;
  cork(callback: () => void): unknown;
}

/**
 * How the sockets of one kind are used. Stateless: all sockets that can do the same share one driver.
 *
 * Every method may throw what the socket throws.
 */
export class SocketDriver {
  readonly capabilities: Capabilities;
  readonly #isUws: boolean;
  readonly #hasBufferedAmountMethod: boolean;

  constructor(capabilities: Capabilities, { isUws, hasBufferedAmountMethod }: Dialect) {
    this.capabilities = capabilities;
    this.#isUws = isUws;
    this.#hasBufferedAmountMethod = hasBufferedAmountMethod;
  }

  /** `false`: the socket says that it has dropped the message. */
  send(socket: unknown, message: unknown, isBinary: boolean): unknown {
    // uWebSockets.js takes everything for text unless told; a second argument means something else elsewhere.
    if (this.#isUws) return (socket as AnySocket).send(message, isBinary) !== UWS_DROPPED;
    const answer = (socket as AnySocket).send(message);
    return answer === BUN_DROPPED ? isEmpty(message) : answer;
  }

  close(socket: unknown, code: number, reason: string): unknown {
    return this.#isUws ? (socket as AnySocket).end(code, reason) : (socket as AnySocket).close(code, reason);
  }

  /** Ends the socket without a closing handshake; `false` where it has no way to. */
  terminate(socket: unknown): boolean {
    if (this.#isUws) (socket as AnySocket).close();
    else if (this.capabilities.terminate) (socket as AnySocket).terminate();
    else {
      this.#closePlainly(socket as Partial<AnySocket>);
      return false;
    }
    return true;
  }

  /** Without a code: the WHATWG `close()` throws for most codes, and the socket would stay open for ever. */
  #closePlainly(socket: Partial<AnySocket>): void {
    try {
      // What fails here has been reported when it was tried with a code.
      Promise.resolve(socket.close?.()).catch(() => undefined);
    } catch {
      // As above.
    }
  }

  /** Only where `capabilities.ping` says so. */
  ping(socket: unknown): void {
    (socket as AnySocket).ping();
  }

  /** Bytes that wait in the socket, 0 where it does not tell. */
  bufferedAmount(socket: unknown): number {
    if (this.#hasBufferedAmountMethod) return (socket as AnySocket).getBufferedAmount();
    return this.capabilities.bufferedAmount ? ((socket as AnySocket).bufferedAmount ?? 0) : 0;
  }

  /** `Open` where the socket does not tell. */
  readyState(socket: unknown): number {
    return (this.capabilities.readyState ? (socket as AnySocket).readyState : undefined) ?? ReadyState.Open;
  }

  /** Runs `sends` so that they leave in one write where the socket can do that. */
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
      (socket as AnySocket).cork(once);
    } catch {
      // A socket that is gone. The sends fail one by one then, each with its own error.
    }
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the callback
    if (!hasRun) sends();
  }
}

const drivers = new Map<string, SocketDriver>();

/**
 * Finds out what a socket can do.
 *
 * @throws {TypeError} the socket is no object, or lacks `send` or `close` and no handlers replace them
 */
export function driverOf(socket: unknown, hasHandlers: boolean): SocketDriver {
  if ((typeof socket !== 'object' && typeof socket !== 'function') || socket === null) {
    throw new TypeError(expected('a WebSocket-like object', socket));
  }
  const has = (name: string): boolean => typeof (socket as Record<string, unknown>)[name] === 'function';
  if (!hasHandlers && !(has('send') && has('close'))) {
    throw new TypeError(expected('a socket with send() and close(), or handlers that replace them', socket));
  }
  const hasBufferedAmountMethod = has('getBufferedAmount');
  const dialect = { isUws: has('end') && hasBufferedAmountMethod, hasBufferedAmountMethod };
  const capabilities: Capabilities = {
    events: has('on') ? 'emitter' : has('addEventListener') ? 'event-target' : 'owner',
    terminate: dialect.isUws || has('terminate'),
    ping: has('ping'),
    bufferedAmount: hasBufferedAmountMethod || 'bufferedAmount' in socket,
    readyState: 'readyState' in socket,
    cork: has('cork'),
  };
  const key = JSON.stringify([dialect, capabilities]);
  let driver = drivers.get(key);
  if (driver === undefined)
    drivers.set(key, (driver = new SocketDriver(Object.freeze(capabilities), dialect)));
  return driver;
}

function isEmpty(message: unknown): boolean {
  return (typeof message === 'string' ? message.length : (message as ArrayBufferView).byteLength) === 0;
}
