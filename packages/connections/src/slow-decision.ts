import { expected, toError } from './errors.js';
import type { PoolSettings, SlowDecision } from './options.js';

/** What the pool's `onSlow` decides about one message. A function that fails decides to close. */
export function decideOn<C>(
  onSlow: PoolSettings<C>['onSlow'],
  connection: C,
  byteLength: number,
  report: (error: Error) => void,
): SlowDecision {
  if (typeof onSlow !== 'function') return onSlow;
  try {
    const decision: unknown = onSlow(connection, { byteLength });
    if (isDecision(decision)) return decision;
    // A promise has no answer in time, and may reject.
    Promise.resolve(decision).catch((error: unknown) => report(toError(error)));
    throw new TypeError(expected("onSlow to answer 'close', 'drop' or 'send'", decision));
  } catch (error) {
    report(toError(error));
    return 'close';
  }
}

function isDecision(decision: unknown): decision is SlowDecision {
  return decision === 'close' || decision === 'drop' || decision === 'send';
}
