import { wheel } from '../liveness/timing-wheel.js';
import { toError } from '../errors.js';
import type { ClusterAdapter } from './adapter.js';
import { Alarm } from './alarm.js';
import { ALL } from './channels.js';
import type { ClusterCounters } from './cluster-stats.js';
import type { Link } from './link.js';
import type { Relay } from './relay.js';
import { encodeRecord, type Presence } from './wire.js';

/** Heartbeats of nodes that were started together drift apart: each comes up to a fifth earlier or later. */
const JITTER = 0.2;
/** All nodes answer a newcomer within a twelfth of a heartbeat, not at once. */
const ANSWER_SHARE = 1 / 12;

/** What the heartbeats tell, and whom. */
export interface HeartbeatsOwner {
  presence(): Omit<Presence, 'isBack'>;
  /** With each heartbeat, before it. */
  tick(): void;
}

/** Says that this node is alive. Each heartbeat also probes the broker: it must be confirmed, and come back. */
export class Heartbeats {
  readonly #adapter: ClusterAdapter;
  readonly #relay: Relay;
  readonly #link: Link;
  readonly #counters: ClusterCounters;
  readonly #owner: HeartbeatsOwner;
  readonly #intervalMs: number;
  readonly #nodeTimeoutMs: number;
  readonly #next = new Alarm(() => this.#tick());
  readonly #answer = new Alarm(() => this.beat());
  #tickedAtMs = Date.now();
  /** It has said hello before. */
  #isBack = false;
  #isProbing = false;
  #lastBeat: { readonly sequence: number; readonly atMs: number } | undefined;

  constructor(
    parts: { adapter: ClusterAdapter; relay: Relay; link: Link; counters: ClusterCounters },
    settings: { readonly heartbeat: number; readonly nodeTimeout: number },
    owner: HeartbeatsOwner,
  ) {
    this.#adapter = parts.adapter;
    this.#relay = parts.relay;
    this.#link = parts.link;
    this.#counters = parts.counters;
    this.#owner = owner;
    this.#intervalMs = settings.heartbeat;
    this.#nodeTimeoutMs = settings.nodeTimeout;
  }

  start(): void {
    this.#scheduleNext();
  }

  stop(): void {
    this.#next.clear();
    this.#answer.clear();
  }

  /** This node is there, perhaps again: everybody tells about themselves. */
  hello(): void {
    this.#publish('hello', this.#isBack);
    this.#isBack = true;
  }

  beat(): void {
    if (this.#link.isConnected) this.#publish('beat', false);
  }

  /** Another node said hello. */
  beatSoon(): void {
    if (!this.#answer.isSet) this.#answer.set(Math.random() * ANSWER_SHARE * this.#intervalMs);
  }

  /** Some publish has failed: was it only that channel? */
  probe(): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    this.beat();
  }

  onEcho(sequence: number): void {
    if (this.#lastBeat?.sequence === sequence)
      this.#counters.roundTripMs = performance.now() - this.#lastBeat.atMs;
    this.#link.heard(sequence);
  }

  /** @returns resolves when the broker has taken it, or not */
  bye(): Promise<void> {
    return new Promise((resolve) => {
      this.#relay.publishNow(
        ALL,
        encodeRecord({ kind: 'bye' }),
        () => resolve(),
        () => resolve(),
      );
    });
  }

  #scheduleNext(): void {
    this.#next.set(this.#intervalMs * (1 - JITTER + 2 * JITTER * Math.random()));
  }

  #tick(): void {
    const nowMs = Date.now();
    const wasAsleep = Math.abs(nowMs - this.#tickedAtMs) > this.#nodeTimeoutMs + this.#intervalMs;
    this.#tickedAtMs = nowMs;
    this.#scheduleNext();
    this.#owner.tick();
    if (!this.#link.isConnected) return;
    // The process was stopped: the others have declared it lost meanwhile.
    if (wasAsleep) this.hello();
    else this.beat();
  }

  #publish(kind: 'hello' | 'beat', isBack: boolean): void {
    const head = encodeRecord({ kind, presence: { ...this.#owner.presence(), isBack } });
    const atMs = performance.now();
    this.#relay.publishNow(
      ALL,
      head,
      (_receivers, sequence) => {
        this.#isProbing = false;
        this.#lastBeat = { sequence, atMs };
        const { echo } = this.#adapter.traits;
        // Also while the channel is not confirmed: a connection that does not answer must be noticed.
        this.#link.published(sequence, echo);
        if (!echo) this.#ping(sequence);
      },
      (error) => {
        this.#isProbing = false;
        this.#link.notPublished(error);
      },
    );
  }

  /** Nothing comes back from this broker: its answer has to do. */
  #ping(sequence: number): void {
    const startedAtMs = wheel.nowMs;
    new Promise((resolve) => resolve(this.#adapter.ping?.())).then(
      () => {
        this.#counters.roundTripMs = wheel.nowMs - startedAtMs;
        this.#link.heard(sequence);
      },
      (error: unknown) => this.#link.notHeard(toError(error)),
    );
  }
}
