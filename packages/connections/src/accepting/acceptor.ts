import { captureRejectionSymbol } from 'node:events';
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { assertId, assertNamespace } from '../arguments.js';
import { assertCloseArguments, CloseCode } from '../close-codes.js';
import { Connection, coreOf, type AnyConnection } from '../connection.js';
import { expected, toError } from '../errors.js';
import { assertRefusal, refuseUpgrade } from '../upgrades/refusal.js';
import { UpgradeGate, type UpgradeTaker } from '../upgrades/upgrade-gate.js';
import {
  resolveAcceptOptions,
  type AcceptOptions,
  type AcceptSettings,
  type Identity,
  type Refusal,
} from './accept-options.js';
import { Expiry } from './expiry.js';
import { Limits, Seat } from './limits.js';
import { isOriginAllowed } from './origin.js';
import { PendingUpgrade } from './pending-upgrade.js';

/** The options without the types of the user's own. */
type Options = AcceptOptions<object, AnyConnection, unknown>;

/** How long a refused client may take to answer our close frame, in ms. */
const REFUSED_CLOSE_MS = 2_000;
const UNAUTHORIZED: Refusal = { status: 401 };
const FORBIDDEN: Refusal = { status: 403 };
const TIMED_OUT: Refusal = { status: 408 };
const FAILED: Refusal = { status: 500 };

/** Takes the upgrades of one server for one pool: from a request to a connection, or to a refusal. */
export class Acceptor implements UpgradeTaker {
  readonly #options: Options;
  readonly #settings: AcceptSettings;
  readonly #limits: Limits;
  readonly #gate: UpgradeGate;

  constructor(options: Options) {
    this.#options = options;
    this.#settings = resolveAcceptOptions(options as never);
    this.#limits = new Limits(this.#settings.limits);
    this.#gate = UpgradeGate.of(options.server);
    this.#gate.add(this);
  }

  /** Clients that are looked up or connected. */
  get clients(): number {
    return this.#limits.clients.total;
  }

  /** Lookups that are running. */
  get pending(): number {
    return this.#limits.lookups.total;
  }

  detach(): void {
    this.#gate.remove(this);
  }

  take(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    try {
      if (!this.#isMine(request)) return false;
      if (!socket.destroyed) void this.#accept(new PendingUpgrade(request, socket, head));
    } catch (error) {
      // The function that picks requests has failed.
      this.#report(error);
      refuseUpgrade(socket, FAILED.status);
    }
    return true;
  }

  #isMine(request: IncomingMessage): boolean {
    const { path } = this.#options;
    if (typeof path === 'function') {
      const answer: unknown = path(request);
      // A promise would be true, for every request.
      if (typeof answer === 'boolean') return answer;
      throw new TypeError(expected('path to answer true or false', answer));
    }
    return path === undefined || path === request.url?.split('?', 1)[0];
  }

  /** Never rejects. */
  async #accept(upgrade: PendingUpgrade): Promise<void> {
    const seat = new Seat(this.#limits);
    upgrade.socket.once('close', () => seat.release());
    const answer = await this.#decide(upgrade, seat);
    if (upgrade.isGone) return;
    if (isIdentity(answer)) this.#open(upgrade, (socket) => void this.#admit(answer, socket, upgrade));
    else {
      seat.release();
      this.#refuse(upgrade, answer);
    }
  }

  async #decide(upgrade: PendingUpgrade, seat: Seat): Promise<Identity | Refusal> {
    try {
      const { request } = upgrade;
      const { maxPer } = this.#options;
      if (this.#isDraining()) return this.#comeBack(503);
      if (!isOriginAllowed(request, this.#settings.origins)) return FORBIDDEN;
      const key = keyFrom(maxPer?.key(request));
      const full = seat.takePlace() ?? seat.takeKey(key);
      if (full !== undefined) return this.#comeBack(full);
      const answer = await this.#lookUp(upgrade);
      if (upgrade.isGone || !isIdentity(answer)) return answer;
      if (this.#isDraining()) return this.#comeBack(503);
      const lateKey = key === undefined ? keyFrom(maxPer?.key(request, answer as never)) : undefined;
      const late = seat.takeNamespace(answer.namespace) ?? seat.takeKey(lateKey);
      return late === undefined ? answer : this.#comeBack(late);
    } catch (error) {
      this.#report(error);
      return FAILED;
    }
  }

  async #lookUp(upgrade: PendingUpgrade): Promise<Identity | Refusal> {
    const end = this.#limits.beginLookup();
    if (end === undefined) return this.#comeBack(503);
    let answer: unknown;
    try {
      answer = this.#options.authenticate(upgrade.request, { signal: upgrade.signal });
    } catch (error) {
      end();
      throw error;
    }
    if (!isThenable(answer)) {
      end();
      return checked(answer);
    }
    const outcome = await upgrade.wait(answer, this.#settings.timeoutMs, end);
    if (outcome.kind === 'failed') throw outcome.error;
    if (outcome.kind === 'timeout') return TIMED_OUT;
    return outcome.kind === 'gone' ? UNAUTHORIZED : checked(outcome.answer);
  }

  #isDraining(): boolean {
    return this.#options.pool.draining || this.#gate.isClosed;
  }

  #comeBack(status: 503 | 429): Refusal {
    return { status, headers: { 'Retry-After': this.#gate.retryAfter ?? this.#settings.retryAfter } };
  }

  #refuse(upgrade: PendingUpgrade, refusal: Refusal): void {
    const { status, headers, closeCode = closeCodeOf(status), reason = STATUS_CODES[status] } = refusal;
    if (this.#settings.refuseWith === 'http') refuseUpgrade(upgrade.socket, status, headers);
    else this.#open(upgrade, (socket) => closeSocket(socket, closeCode, reason));
  }

  /** Has `ws` answer with 101. It answers a handshake that is not valid with 400, and `onOpen` is not called. */
  #open(upgrade: PendingUpgrade, onOpen: (socket: object) => void): void {
    const { request, socket, head } = upgrade;
    try {
      this.#options.webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
        upgrade.handOver();
        onOpen(webSocket);
      });
    } catch (error) {
      // `verifyClient`, or somebody else has answered the request as well: the client gets no second answer.
      this.#report(error);
      socket.destroy();
    }
  }

  /** Never rejects. Up to its first `await` it runs at once: the pool tells of the connection right after the 101. */
  async #admit(identity: Identity, socket: object, { request, socket: tcp }: PendingUpgrade): Promise<void> {
    let connection: AnyConnection | undefined;
    try {
      connection = this.#connect(identity, socket, request);
      const added = this.#options.pool.newConnection(connection);
      if (identity.expiresAt !== undefined) {
        const expiry = new Expiry(connection, identity.expiresAt);
        tcp.once('close', () => expiry.cancel());
      }
      await added;
    } catch (error) {
      this.#report(error);
      if (connection === undefined) closeSocket(socket, CloseCode.InternalError);
      else void coreOf(connection).closeReported(CloseCode.InternalError, '');
    }
  }

  #connect(identity: Identity, socket: object, request: IncomingMessage): AnyConnection {
    const { createConnection } = this.#options;
    const connection: unknown = createConnection
      ? createConnection(identity as never, socket, request)
      : new Connection(identity.id, identity.namespace, socket);
    if (!(connection instanceof Connection)) {
      // A promise would be too late, and may reject.
      Promise.resolve(connection).catch((error: unknown) => this.#report(error));
      throw new TypeError(expected('createConnection to return a Connection', connection));
    }
    const { data, rooms } = identity;
    if (data !== undefined && connection.data === undefined) connection.data = data;
    if (rooms !== undefined) connection.join(rooms);
    return connection as AnyConnection;
  }

  #report(error: unknown): void {
    this.#options.pool[captureRejectionSymbol](toError(error), 'upgrade');
  }
}

/** What `maxPer.key` answered. A promise, or an object, would be a key of its own for every client. */
function keyFrom(key: unknown): unknown {
  if (key === undefined || ['string', 'number', 'bigint'].includes(typeof key)) return key;
  throw new TypeError(expected('maxPer.key to answer a string, a number, a bigint or undefined', key));
}

/** Closes a socket that is in no connection of the user's, and ends it if the client does not answer. */
function closeSocket(socket: object, code: number, reason = ''): void {
  coreOf(new Connection('', '', socket)).closeWithin(code, reason, REFUSED_CLOSE_MS);
}

/** @see RFC 6455 §7.4.2: codes from 4000 on are for applications */
function closeCodeOf(status: number): number {
  if (status >= 400 && status < 500) return 4000 + status;
  return status === 503 ? CloseCode.TryAgainLater : CloseCode.InternalError;
}

function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof (answer as PromiseLike<unknown> | null | undefined)?.then === 'function';
}

function isIdentity(answer: Identity | Refusal): answer is Identity {
  return (answer as Partial<Identity>).id !== undefined;
}

/** What `authenticate` answered, checked before the client gets a 101. @throws {TypeError | RangeError} */
function checked(answer: unknown): Identity | Refusal {
  if (answer === undefined || answer === null || answer === false) return UNAUTHORIZED;
  const given = answer as Identity | Refusal;
  if (isIdentity(given)) return hasExpired(given) ? UNAUTHORIZED : given;
  const { status, headers, closeCode = CloseCode.Normal, reason = '' } = given;
  if ((status as unknown) === undefined) {
    throw new TypeError(expected('authenticate to answer { id, namespace }, { status } or false', answer));
  }
  assertRefusal(status, headers ?? {});
  assertCloseArguments(closeCode, reason);
  return given;
}

function hasExpired({ id, namespace, expiresAt = Infinity }: Identity): boolean {
  assertId(id);
  assertNamespace(namespace);
  if (typeof expiresAt === 'number' && !Number.isNaN(expiresAt)) return expiresAt <= Date.now();
  throw new TypeError(expected('expiresAt to be a number of ms since the epoch', expiresAt));
}
