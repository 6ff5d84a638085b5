import type { AnyConnection, Connection } from '../connection.js';
import type { AcceptOptions, Answer, Awaitable } from './accept-options.js';
import { UpgradeAcceptor } from './acceptor.js';

/** What takes the upgrades of a server. */
export interface Acceptor {
  /** Its clients now, those included that are still looked up. */
  readonly clients: number;
  /** Lookups that are running. */
  readonly pending: number;
  /**
   * How many clients it has refused, by HTTP status; live, and only grows. With `refuseWith: 'close'` too, under the
   * status that they would have got. Without clients that had gone already, handshakes that `ws` refuses, and requests
   * for other paths. A newcomer that the pool refuses is in `stats().refused` of the pool instead.
   */
  readonly refusals: ReadonlyMap<number, number>;
  /** Takes no more upgrades: they go to the other listeners of the server. Lookups that are running finish. */
  detach(): void;
}

/** The options with `createConnection`. */
export type AcceptSubclassOptions<Socket, C extends AnyConnection, Returned> = AcceptOptions<
  Socket,
  C,
  Returned
> & {
  readonly createConnection: NonNullable<AcceptOptions<Socket, C, Returned>['createConnection']>;
};

/**
 * Takes clients in: answers the upgrades of an HTTP or HTTPS server, finds out who asks, and adds the connections to a
 * pool. Everything that can go wrong in between is taken care of: clients that reset while they are looked up, messages that
 * come early, foreign pages, too many clients, a pool that drains.
 *
 * The pool emits `connection` right after the 101 response is written, before the first message: attach listeners there.
 * Knows of a `gracefulShutdown` of the same server: while it drains, clients are refused as `refuseWith` says.
 *
 * @throws {TypeError} an option is unknown, missing or of another kind
 * @throws {RangeError} a number is out of range
 */
export function acceptConnections<
  Socket,
  C extends AnyConnection,
  Returned extends Awaitable<Answer<unknown, C['data']>>,
>(options: AcceptSubclassOptions<Socket, C, Returned>): Acceptor;
export function acceptConnections<Socket extends Native, ID, Message, Native, Data>(
  options: AcceptOptions<Socket, Connection<ID, Message, Native, Data>, Awaitable<Answer<ID, Data>>>,
): Acceptor;
export function acceptConnections(options: unknown): Acceptor {
  return new UpgradeAcceptor(options as never);
}
