import { wheel } from '../liveness/timing-wheel.js';
import { Alarm } from './alarm.js';
import type { ClusterState, Degradation } from './cluster-info.js';

/** An echo that has not come after that many heartbeats is missing. */
const ECHO_HEARTBEATS = 1.5;
/** The receiving side is rebuilt after a third of a heartbeat, then twice that, … */
const FIRST_RETRY_SHARE = 1 / 3;
/** … up to that many heartbeats. */
const MAX_RETRY_HEARTBEATS = 10;

/** What the link looks at and changes. None of this throws or runs code of the user. */
export interface LinkOwner {
  /** All channels that were wanted when the link came up are confirmed. */
  isSubscribed(): boolean;
  /** Some channel was refused. */
  isRefused(): boolean;
  /** Whether the queue may publish. */
  setOpen(isOpen: boolean): void;
  resubscribe(): void;
  /** The state has changed. `problem` says why it is not `up` any more. */
  stateChanged(state: ClusterState, previous: ClusterState, problem: Degradation | undefined): void;
  /** This node hears the others again, after it did not. */
  hearsAgain(): void;
}

/**
 * Whether the cluster can be relied on. A connection that is there proves nothing: what this node publishes must be
 * confirmed, and must come back.
 */
export class Link {
  readonly #owner: LinkOwner;
  readonly #heartbeatMs: number;
  #state: ClusterState = 'connecting';
  #wasUp = false;
  #isConnected = false;
  /** Whether the last heartbeat was published; `undefined`: not known on this connection. */
  #canPublish: boolean | undefined;
  /** Whether it came back. */
  #canHear: boolean | undefined;
  #problem: Omit<Degradation, 'sinceMs'> | undefined;
  #problemSinceMs = 0;
  /** The first heartbeat that has not come back. */
  #awaited: { readonly sequence: number; readonly sinceMs: number } | undefined;
  readonly #echoDue = new Alarm(() => this.check());
  /** The last one that has. */
  #echoed = -1;
  #retries = 0;
  #retryAtMs = 0;

  constructor(heartbeatMs: number, owner: LinkOwner) {
    this.#heartbeatMs = heartbeatMs;
    this.#owner = owner;
  }

  get state(): ClusterState {
    return this.#state;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** This node hears what is published. */
  get hears(): boolean {
    return this.#isConnected && this.#canHear === true;
  }

  /** The adapter has connected. */
  connected(): void {
    this.#isConnected = true;
    this.#canPublish = this.#canHear = this.#awaited = undefined;
    this.evaluate();
  }

  disconnected(error: Error | undefined): void {
    if (!this.#isConnected && this.#state === 'down') return;
    this.#isConnected = false;
    this.#canPublish = this.#canHear = this.#awaited = undefined;
    this.#retries = 0;
    this.#note('connect', error);
    this.evaluate();
  }

  /** A heartbeat was published. */
  published(sequence: number, awaitsEcho: boolean): void {
    this.#canPublish = true;
    // The echo may come before the broker confirms the publish.
    if (awaitsEcho && sequence > this.#echoed && this.#awaited === undefined) {
      this.#awaited = { sequence, sinceMs: wheel.nowMs };
      this.#echoDue.set(ECHO_HEARTBEATS * this.#heartbeatMs);
    }
    this.evaluate();
  }

  notPublished(error: Error | undefined): void {
    if (!this.#isConnected) return;
    this.#canPublish = false;
    this.#note('publish', error);
    this.evaluate();
  }

  /** A heartbeat has come back, or the broker has answered a ping where it sends nothing back. */
  heard(sequence: number): void {
    if (!this.#isConnected) return;
    this.#echoed = Math.max(this.#echoed, sequence);
    if (this.#awaited !== undefined && sequence >= this.#awaited.sequence) this.#awaited = undefined;
    this.#retries = 0;
    const isAgain = this.#canHear !== true;
    this.#canHear = true;
    if (isAgain) this.#owner.hearsAgain();
    this.evaluate();
  }

  /** Nothing comes back. */
  notHeard(error: Error | undefined, sinceMs = 0): void {
    if (!this.#isConnected) return;
    this.#canHear = false;
    this.#note('receive', error, sinceMs);
    this.evaluate();
  }

  /** A channel was refused. */
  refused(error: Error): void {
    this.#note('subscribe', error);
    this.evaluate();
  }

  /** Looks for an echo that has not come: when it is due, and with each heartbeat after that. */
  check(): void {
    const { nowMs } = wheel;
    if (!this.#isConnected || this.#awaited === undefined || this.#canPublish === false) return;
    const silentMs = nowMs - this.#awaited.sinceMs;
    if (silentMs < ECHO_HEARTBEATS * this.#heartbeatMs) return;
    this.notHeard(new Error('What this node publishes does not come back'), silentMs);
    if (nowMs < this.#retryAtMs) return;
    const heartbeats = Math.min(FIRST_RETRY_SHARE * 2 ** this.#retries++, MAX_RETRY_HEARTBEATS);
    this.#retryAtMs = nowMs + heartbeats * this.#heartbeatMs;
    this.#owner.resubscribe();
  }

  /** The pool has left. */
  end(): void {
    this.#echoDue.clear();
    this.#isConnected = false;
    this.#state = 'alone';
    this.#owner.setOpen(false);
  }

  evaluate(): void {
    if (this.#state === 'alone') return;
    this.#owner.setOpen(this.#isConnected && this.#canPublish === true && this.#canHear !== undefined);
    const previous = this.#state;
    const state = this.#stateNow();
    if (state === previous) return;
    this.#state = state;
    const problem = state === 'up' ? undefined : this.#problem;
    if (state === 'up') [this.#wasUp, this.#problem] = [true, undefined];
    const sinceMs = this.#problemSinceMs;
    this.#owner.stateChanged(state, previous, problem && { ...problem, sinceMs });
  }

  #stateNow(): ClusterState {
    if (!this.#isConnected) return this.#problem === undefined ? 'connecting' : 'down';
    if (this.#canPublish === false || this.#canHear === false || this.#owner.isRefused()) return 'degraded';
    if (this.#canPublish && this.#canHear && this.#owner.isSubscribed()) return 'up';
    if (this.#state === 'up') return 'up';
    return this.#wasUp ? 'degraded' : 'connecting';
  }

  #note(stage: Degradation['stage'], error: Error | undefined, sinceMs = 0): void {
    this.#problem = { stage, error };
    this.#problemSinceMs = sinceMs;
  }
}
