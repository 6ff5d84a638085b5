import type { AnyConnection } from './connection.js';
import type { Counters } from './counters.js';
import type { Membership } from './membership.js';
import type { PoolSettings, RateDecision, SlowDecision } from './options.js';
import { askPolicy } from './policy.js';
import type { Facade, PoolLink } from './user-code.js';

const SLOW_DECISIONS: readonly SlowDecision[] = ['close', 'drop', 'send'];
const RATE_DECISIONS: readonly RateDecision[] = ['close', 'drop', 'pause', 'accept'];

/** What a pool does about news of its connections. None of this throws. */
export interface PoolLinkOwner<C extends AnyConnection> {
  members(): Membership<C>;
  failed(error: Error, connection: C, isHandled?: boolean): void;
  /** A connection has become a slow reader. */
  slow(connection: C): void;
}

/** What the connections of a pool know of it. */
export function linkTo<C extends AnyConnection>(
  settings: PoolSettings<C>,
  counters: Counters,
  owner: PoolLinkOwner<C>,
): PoolLink {
  // Only connections of the pool's own type can have joined it.
  const own = (connection: Facade): C => connection as unknown as C;
  const ask = <Answer extends string>(
    policy: Parameters<typeof askPolicy<C, Answer>>[0],
    connection: C,
    byteLength: number,
  ): Answer | 'close' =>
    askPolicy(policy, connection, byteLength, (error) => owner.failed(error, connection));
  return {
    settings,
    counters,
    onGone: (connection, code, reason) => owner.members().onGone(own(connection), code, reason),
    onJoin: (connection, rooms) => owner.members().rooms.join(own(connection), rooms),
    onLeave: (connection, rooms) => owner.members().rooms.leave(own(connection), rooms),
    onFailure: (error, connection, isHandled) => owner.failed(error, own(connection), isHandled),
    onSlow(connection, byteLength, isNew) {
      if (isNew) owner.slow(own(connection));
      return ask(['onSlow', settings.onSlow, SLOW_DECISIONS], own(connection), byteLength);
    },
    onExceeded(connection, byteLength) {
      const policy = settings.rateLimit?.onExceeded ?? 'close';
      return ask(['onExceeded', policy, RATE_DECISIONS], own(connection), byteLength);
    },
  };
}
