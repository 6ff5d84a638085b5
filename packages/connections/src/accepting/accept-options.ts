import { captureRejectionSymbol } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { assertFunction, assertKeys, assertMethod, assertMs, assertOneOf } from '../arguments.js';
import type { AnyConnection, Connection } from '../connection.js';
import { expected } from '../errors.js';
import { assertRetryAfter, DEFAULT_RETRY_AFTER_SECONDS, type RefusalHeaders } from '../upgrades/refusal.js';
import type { NativeWebsocket } from '../sockets/native-websocket.js';
import type { LimitSettings } from './limits.js';
import { assertOrigins } from './origin.js';

/** How long `authenticate` may take, in ms. */
const DEFAULT_TIMEOUT_MS = 10_000;

/** Who a client is: the answer of `authenticate` that lets it in. `data` is required unless its type allows `undefined`. */
export type Identity<ID = unknown, Data = unknown> = IdentityWithoutData<ID> &
  (undefined extends Data ? { readonly data?: Data | undefined } : { readonly data: Data });

/** All of an `Identity` but its `data`, which becomes `connection.data` unless `createConnection` has assigned it. */
export interface IdentityWithoutData<ID = unknown> {
  /** Unique inside the namespace. */
  readonly id: ID;
  readonly namespace: string;
  /** Rooms that the connection is in from the start. */
  readonly rooms?: string | Iterable<string> | undefined;
  /**
   * When the session ends, in ms since the epoch: the connection is then closed with 4401. If it has ended already, the
   * client gets 401. A time between the epoch and 1973 is a mistake, such as the `exp` of a JWT, which is in seconds: the
   * client gets 500 and the pool emits `error`.
   *
   * @default never
   */
  readonly expiresAt?: number | undefined;
}

/** Why a client is not let in. */
export interface Refusal {
  /** HTTP status, 300 to 599. */
  readonly status: number;
  /** Headers of that response. They are not sent with `refuseWith: 'close'`. */
  readonly headers?: RefusalHeaders | undefined;
  /**
   * Close code with `refuseWith: 'close'`.
   *
   * @default 4000 + a status of 4xx (4401, 4403, 4429), 1013 for 503, otherwise 1011
   */
  readonly closeCode?: number | undefined;
  /** Close reason with `refuseWith: 'close'`; at most 123 bytes of UTF-8. @default the text of the status */
  readonly reason?: string | undefined;
}

/** What `authenticate` may answer, for a function of your own. Nothing, or `false`, is a refusal with 401. */
export type Answer<ID = unknown, Data = unknown> = Identity<ID, Data> | Refusal | false | null | undefined;

/** What `authenticate` may return. */
export type Awaitable<T> = T | PromiseLike<T>;

/** The identity among the answers that `authenticate` returns. */
export type IdentityOf<Returned> = Extract<Awaited<Returned>, { readonly id: unknown }>;

/** The `WebSocketServer` of `ws`, made with `noServer: true`. */
export interface UpgradingWebSocketServer<Socket> {
  readonly options?: { readonly noServer?: boolean | undefined } | undefined;
  handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    callback: (socket: Socket, request: IncomingMessage) => void,
  ): void;
}

/** The pool that clients join: a `ConnectionsPool`. */
export interface AcceptingPool<C> {
  readonly draining: boolean;
  readonly newConnection: (connection: C) => Promise<void>;
  [captureRejectionSymbol](error: Error, event: unknown): void;
}

/**
 * Who is let in, and how.
 *
 * @typeParam Socket type of the socket
 * @typeParam C class of the connections
 * @typeParam Returned what `authenticate` returns
 */
export interface AcceptOptions<
  Socket = NativeWebsocket,
  C extends AnyConnection = Connection,
  Returned = Awaitable<Answer<C['id'], C['data']>>,
> {
  /** The HTTP or HTTPS server that gets the upgrades. */
  readonly server: Server;
  /** The `WebSocketServer` of `ws`, made with `noServer: true`. */
  readonly webSocketServer: UpgradingWebSocketServer<Socket>;
  readonly pool: AcceptingPool<C>;
  /**
   * Which requests to answer: those for this path, without its query, or those that the function picks. All others go to
   * the other `upgrade` listeners of the server. Without one, they get 404. Of several acceptors of a server, the first
   * that was made and wants the request takes it.
   *
   * The other listeners must leave these requests alone: a `WebSocketServer` with `server` and `path` answers 400 to
   * every path but its own.
   *
   * @default all
   */
  readonly path?: string | ((request: IncomingMessage) => boolean) | undefined;
  /**
   * Origins of pages that may connect, besides the host and port of the request itself; others get 403. As browsers send
   * them, such as `https://app.example`: in lower case, without a path and without the port that the scheme has by
   * default. `'*'` allows all; there are no other wildcards, so name each subdomain. Requests without `Origin` do not
   * come from a page, and are always allowed.
   *
   * @default []: only pages of the server itself
   * @see RFC 6455 §10.2
   */
  readonly origins?: readonly string[] | undefined;
  /**
   * Who the client is. An identity lets it in, `{ status, headers?, closeCode?, reason? }` refuses it, and nothing or `false` is
   * 401. If it throws or rejects, the client gets 500 and the pool emits `error`. `signal` aborts when the client goes,
   * or after `timeout`.
   */
  readonly authenticate: (request: IncomingMessage, context: { readonly signal: AbortSignal }) => Returned;
  /**
   * Makes the connection, for subclasses of `Connection`. Called right after the 101 response is written.
   *
   * @default `new Connection(identity.id, identity.namespace, socket)`
   */
  readonly createConnection?:
    ((identity: IdentityOf<Returned>, socket: Socket, request: IncomingMessage) => C) | undefined;
  /** How long `authenticate` may take before the client gets 408, in ms. Range: 1 to 2147483647. @default 10_000 */
  readonly timeout?: number | undefined;
  /**
   * How many clients this acceptor has at most, those that are still looked up included; more get 503. Range: an integer
   * of at least 1, or `Infinity`, as for the next two.
   *
   * @default Infinity
   */
  readonly maxConnections?: number | undefined;
  /** The same for each namespace. @default Infinity */
  readonly maxPerNamespace?: number | undefined;
  /**
   * How many lookups run at a time; more clients get 503. A lookup whose client has gone counts until it ends or `timeout`
   * has passed.
   *
   * @default Infinity
   */
  readonly maxPending?: number | undefined;
  /**
   * How many clients may have the same key, such as an address or a user; more get 429. `key` is asked before
   * `authenticate`, and again with the identity if it answered `undefined`; twice `undefined` is no limit.
   *
   * Behind a proxy the address of the socket is that of the proxy. Headers such as `X-Forwarded-For` count only if `key`
   * reads them: do that only if the proxy overwrites what clients send.
   *
   * @default none
   */
  readonly maxPer?: MaxPer<IdentityOf<Returned>> | undefined;
  /**
   * `'http'`: a refused client gets the HTTP status. `'close'`: its WebSocket is accepted and closed at once, with 4401,
   * 4403, 4429 or 1013, because a page in a browser cannot see an HTTP status.
   *
   * @default 'http'
   */
  readonly refuseWith?: 'http' | 'close' | undefined;
  /** `Retry-After` of 503 and 429, in seconds. Range: a whole number, 0 or more. @default 5 */
  readonly retryAfter?: number | undefined;
}

/** See `maxPer`. */
export interface MaxPer<Who> {
  readonly key: (request: IncomingMessage, identity?: Who) => string | number | bigint | undefined;
  /** Range: an integer of at least 1. */
  readonly limit: number;
}

type AnyOptions = AcceptOptions<unknown, never, unknown>;

const ACCEPT_OPTIONS = [
  'server',
  'webSocketServer',
  'pool',
  'path',
  'origins',
  'authenticate',
  'createConnection',
  'timeout',
  'maxConnections',
  'maxPerNamespace',
  'maxPending',
  'maxPer',
  'refuseWith',
  'retryAfter',
] as const satisfies readonly (keyof AnyOptions)[];

/** The options, checked, with their defaults. */
export interface AcceptSettings {
  readonly origins: readonly string[];
  readonly timeoutMs: number;
  readonly retryAfter: number;
  readonly refuseWith: 'http' | 'close';
  readonly limits: LimitSettings;
}

/**
 * @throws {TypeError} an option is unknown, missing or of another kind
 * @throws {RangeError} a number is out of range
 */
export function resolveAcceptOptions(options: AnyOptions): AcceptSettings {
  assertKeys('the options of acceptConnections', options, ACCEPT_OPTIONS);
  assertParts(options);
  const { origins = [], timeout = DEFAULT_TIMEOUT_MS, refuseWith = 'http', maxPer } = options;
  const { retryAfter = DEFAULT_RETRY_AFTER_SECONDS } = options;
  assertOrigins(origins);
  assertMs('timeout', timeout);
  assertRetryAfter(retryAfter);
  assertOneOf('refuseWith', ['http', 'close'], refuseWith);
  if (maxPer !== undefined) {
    assertKeys('maxPer', maxPer, ['key', 'limit']);
    assertCallable('maxPer.key', maxPer.key);
    assertLimit('maxPer.limit', maxPer.limit);
  }
  const limits = {
    maxConnections: limitOf(options, 'maxConnections'),
    maxPerNamespace: limitOf(options, 'maxPerNamespace'),
    maxPending: limitOf(options, 'maxPending'),
    maxPerKey: maxPer?.limit ?? Infinity,
  };
  return { origins, timeoutMs: timeout, retryAfter, refuseWith, limits };
}

function assertParts(options: AnyOptions): void {
  const { server, webSocketServer, pool, path, authenticate, createConnection } = options;
  assertMethod('server', server, 'on');
  assertMethod('webSocketServer', webSocketServer, 'handleUpgrade');
  // With a server of its own it answers every upgrade itself, and a second answer would break the first.
  if (webSocketServer.options?.noServer === false) {
    throw new TypeError('Expected webSocketServer to be made with `noServer: true`, got `noServer: false`');
  }
  assertMethod('pool', pool, 'newConnection');
  // Errors are reported there. A pool has it, and so must something that stands in for one.
  assertMethod('pool', pool, captureRejectionSymbol);
  assertPath(path);
  assertCallable('authenticate', authenticate);
  assertFunction('createConnection', createConnection);
}

function assertPath(path: unknown): void {
  if (path === undefined || typeof path === 'function') return;
  if (typeof path === 'string' && /^\/[^?#]*$/.test(path)) return;
  throw new TypeError(expected("path to be a function, or a string such as '/socket'", path));
}

function assertCallable(name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(expected(`${name} to be a function`, value));
}

function limitOf(options: AnyOptions, name: 'maxConnections' | 'maxPerNamespace' | 'maxPending'): number {
  const { [name]: limit = Infinity } = options;
  assertLimit(name, limit);
  return limit;
}

function assertLimit(name: string, limit: unknown): void {
  if (typeof limit !== 'number') throw new TypeError(expected(`${name} to be a number`, limit));
  if (limit === Infinity || (Number.isSafeInteger(limit) && limit >= 1)) return;
  throw new RangeError(expected(`${name} to be an integer of at least 1, or Infinity`, limit));
}
