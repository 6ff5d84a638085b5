import type { Counters } from './counters.js';
import type { SlowDecision } from './options.js';
import type { Outgoing } from './outgoing.js';
import type { kTerminate } from './pool-link.js';

export const kHand = Symbol('hand');
export const kFailed = Symbol('failed');
export const kSlow = Symbol('slow');
export const kDrained = Symbol('drained');

/** The connection that an outbox sends for. */
export interface OutboxOwner {
  /** Hands a message to user code. May throw. */
  [kHand](message: unknown, taker: 'handlers' | 'override'): unknown;
  /** A socket or handler failed. Never throws. */
  [kFailed](error: unknown): void;
  /** Ends the connection. Never throws. */
  [kTerminate](): void;
  /** A message would exceed the bound. `isNew`: the first of this episode. Never throws. */
  [kSlow](outgoing: Outgoing, isNew: boolean): SlowDecision;
  /** The episode is over: what waited has left. Never throws. */
  [kDrained](): void;
}

/** What a pool sets and counts for its connections. */
export interface OutboxContext {
  readonly maxBufferedBytes: number;
  /** Bytes of the shared compression history of a namespace; 0 for none. */
  readonly historyBytes: number;
  readonly counters: Counters;
}
