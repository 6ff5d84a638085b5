import type { Counters } from './counters.js';
import type { Outgoing } from './outgoing.js';
import type { PoolSettings, SlowDecision } from './options.js';

/** What a connection knows of the pool that it is in. */
export interface PoolLink<C> {
  readonly settings: PoolSettings;
  readonly counters: Counters;
  /** Grace period of a close in ms: that of a running drain, or the pool's. */
  readonly closeTimeoutMs: number;
  /** The connection has closed. Called before its listeners hear of it. */
  onClosed(connection: C, code: number, reason: string): void;
  onFailure(connection: C, error: Error): void;
  onSlow(connection: C, outgoing: Outgoing, isNew: boolean): SlowDecision;
}

/** The pool that a connection is in. */
export const kPool = Symbol('pool');
export const kJoined = Symbol('joined');
export const kLeft = Symbol('left');
/** Everything that leaves a connection. */
export const kOutbox = Symbol('outbox');
/** Ends a connection of the library's own accord. Never throws. */
export const kTerminate = Symbol('terminate');
/** Whether a connection was ended without a closing handshake. */
export const kWasTerminated = Symbol('wasTerminated');
