import { captureRejectionSymbol } from 'node:events';
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CloseCode } from '../close-codes.js';
import { Connection, coreOf, type AnyConnection } from '../connection.js';
import { toError } from '../errors.js';
import { refuseUpgrade } from '../upgrades/refusal.js';
import { UpgradeGate, type UpgradeTaker } from '../upgrades/upgrade-gate.js';
import {
  resolveAcceptOptions,
  type AcceptOptions,
  type AcceptSettings,
  type Identity,
  type Refusal,
} from './accept-options.js';
import { checked, closeCodeOf, isIdentity, isKey, isThenable, UNAUTHORIZED, wrongAnswer } from './answers.js';
import { Expiry } from './expiry.js';
import { Limits, Seat } from './limits.js';
import { isFromAllowed } from './origin.js';
import { PendingUpgrade } from './pending-upgrade.js';

/** The options without the types of the user's own. */
type Options = AcceptOptions<object, AnyConnection, unknown>;

/** How long a refused client may take to answer our close frame, in ms. */
const REFUSED_CLOSE_MS = 2_000;
const FORBIDDEN: Refusal = { status: 403 };
const TIMED_OUT: Refusal = { status: 408 };
const FAILED: Refusal = { status: 500 };

/** Takes the upgrades of one server for one pool: from a request to a connection, or to a refusal. */
export class UpgradeAcceptor implements UpgradeTaker {
  readonly #options: Options;
  readonly #settings: AcceptSettings;
  readonly #limits: Limits;
  readonly #gate: UpgradeGate;
  readonly #refusals = new Map<number, number>();

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

  /** Clients that it has refused, by status. */
  get refusals(): ReadonlyMap<number, number> {
    return this.#refusals;
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
      this.#countRefusal(FAILED.status);
      refuseUpgrade(socket, FAILED.status);
    }
    return true;
  }

  #isMine(request: IncomingMessage): boolean {
    const { path } = this.#options;
    if (typeof path === 'function') {
      const answer: unknown = path(request);
      // A promise is truthy, for every request.
      if (typeof answer === 'boolean') return answer;
      throw this.#wrong('path to answer true or false', answer);
    }
    return path === undefined || path === request.url?.split('?', 1)[0];
  }

  /** Never rejects. */
  async #accept(upgrade: PendingUpgrade): Promise<void> {
    const seat = new Seat(this.#limits);
    releaseOnClose(upgrade.socket, seat);
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
      if (!isFromAllowed(request, this.#settings.origins)) return FORBIDDEN;
      const key = this.#checkedKey(maxPer?.key(request));
      const full = seat.takePlace() ?? seat.takeKey(key);
      if (full !== undefined) return this.#comeBack(full);
      const answer = await this.#lookUp(upgrade);
      if (upgrade.isGone || !isIdentity(answer)) return answer;
      if (this.#isDraining()) return this.#comeBack(503);
      const lateKey = key === undefined ? this.#checkedKey(maxPer?.key(request, answer as never)) : undefined;
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
    let lookup: PromiseLike<unknown>;
    try {
      const answer: unknown = this.#options.authenticate(upgrade.request, { signal: upgrade.signal });
      if (!isThenable(answer)) {
        end();
        return checked(answer);
      }
      lookup = answer;
    } catch (error) {
      end();
      throw error;
    }
    const outcome = await upgrade.wait(lookup, this.#settings.timeoutMs, end);
    if (outcome.kind === 'failed') throw outcome.error;
    if (outcome.kind === 'timeout') return TIMED_OUT;
    return outcome.kind === 'gone' ? UNAUTHORIZED : checked(outcome.answer);
  }

  #checkedKey(key: unknown): unknown {
    if (isKey(key)) return key;
    throw this.#wrong('maxPer.key to answer a string, a number, a bigint or undefined', key);
  }

  #isDraining(): boolean {
    return this.#options.pool.draining || this.#gate.isClosed;
  }

  #comeBack(status: 503 | 429): Refusal {
    return { status, headers: { 'Retry-After': this.#gate.retryAfter ?? this.#settings.retryAfter } };
  }

  #refuse(upgrade: PendingUpgrade, refusal: Refusal): void {
    const { status, headers, closeCode = closeCodeOf(status), reason = STATUS_CODES[status] } = refusal;
    this.#countRefusal(status);
    if (this.#settings.refuseWith === 'http') refuseUpgrade(upgrade.socket, status, headers);
    else this.#open(upgrade, (socket) => closeSocket(socket, closeCode, reason));
  }

  #countRefusal(status: number): void {
    this.#refusals.set(status, (this.#refusals.get(status) ?? 0) + 1);
  }

  /** Lets `ws` answer with 101. It answers an invalid handshake with 400, and does not call `onOpen`. */
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
      if (connection !== undefined) void coreOf(connection).closeReported(CloseCode.InternalError, '');
      else this.#closeUnused(socket, tcp);
    }
  }

  #connect(identity: Identity, socket: object, request: IncomingMessage): AnyConnection {
    const { createConnection } = this.#options;
    const connection: unknown = createConnection
      ? createConnection(identity as never, socket, request)
      : new Connection(identity.id, identity.namespace, socket);
    if (!(connection instanceof Connection)) {
      throw this.#wrong('createConnection to return a Connection', connection);
    }
    const { data, rooms } = identity;
    if (data !== undefined && connection.data === undefined) connection.data = data;
    if (rooms !== undefined) connection.join(rooms);
    return connection as AnyConnection;
  }

  #closeUnused(socket: object, tcp: Duplex): void {
    try {
      closeSocket(socket, CloseCode.InternalError);
    } catch {
      // The `WebSocketServer` has handed out something that is no socket, which was reported.
      tcp.destroy();
    }
  }

  #wrong(what: string, answer: unknown): TypeError {
    return wrongAnswer(what, answer, (error) => this.#report(error));
  }

  #report(error: unknown): void {
    this.#options.pool[captureRejectionSymbol](toError(error), 'upgrade');
  }
}

/** A function of its own: a closure that is made beside others would keep what they use, the whole request, as long as it lives. */
function releaseOnClose(socket: Duplex, seat: Seat): void {
  socket.once('close', () => seat.release());
}

/** Closes a socket that is in no connection of the user's, and ends it if the client does not answer. */
function closeSocket(socket: object, code: number, reason = ''): void {
  coreOf(new Connection('', '', socket)).closeWithin(code, reason, REFUSED_CLOSE_MS);
}
