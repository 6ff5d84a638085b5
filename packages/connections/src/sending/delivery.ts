import type { Envelope } from './envelope.js';

/** What became of one broadcast: `recipients` is always the sum of the other figures. */
export interface BroadcastResult {
  /** Connections that the broadcast was meant for. Those that this side is closing, and exceptions, do not count. */
  readonly recipients: number;
  /** Copies handed to the socket. The peer may still not receive them: only its own answer could confirm that. */
  readonly sent: number;
  /** Copies refused by the slow-reader policy. */
  readonly dropped: number;
  /** Copies not handed over: the connection closed meanwhile, its peer is closing it, or its socket or handler failed. */
  readonly failed: number;
  /** Copies held back for readers that are behind: a newer message under the same key may replace them. */
  readonly conflated: number;
}

/** There was nobody to broadcast to. */
export const NOBODY: BroadcastResult = Object.freeze({
  recipients: 0,
  sent: 0,
  dropped: 0,
  failed: 0,
  conflated: 0,
});

/** What can become of one copy of a message. */
export type Outcome = 'sent' | 'dropped' | 'failed' | 'conflated';

/** Where the outcome of one copy is reported, exactly once. */
export interface Tally {
  count(outcome: Outcome): void;
}

/** Counts what became of a broadcast, and resolves when the last copy has been counted. */
export class Delivery implements Tally {
  readonly #counts = { sent: 0, dropped: 0, failed: 0, conflated: 0 };
  #recipients = 0;
  #open = 0;
  #resolve: ((result: BroadcastResult) => void) | undefined;

  get recipients(): number {
    return this.#recipients;
  }

  /** Adds that many copies that are on their way. To be called before any is counted. */
  expect(copies: number): void {
    this.#recipients += copies;
    this.#open += copies;
  }

  count(outcome: Outcome, copies = 1): void {
    this.#counts[outcome] += copies;
    this.#open -= copies;
    if (this.#open === 0) this.#resolve?.(this.#result);
  }

  /** Resolves when every copy has been handed over or refused. To be called once. */
  result(): Promise<BroadcastResult> {
    if (this.#open === 0) return Promise.resolve(this.#result);
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  get #result(): BroadcastResult {
    return { recipients: this.recipients, ...this.#counts };
  }
}

/** One copy whose outcome is not known yet: it waits for its turn, or for an answer of user code. */
export class PendingCopy implements Tally {
  /** Whether it was handed over, once that is known. */
  outcome: boolean | undefined;
  #resolve: ((isSent: boolean) => void) | undefined;

  /** Resolves with the outcome. To be read once. */
  get sent(): Promise<boolean> {
    if (this.outcome !== undefined) return Promise.resolve(this.outcome);
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  count(outcome: Outcome): void {
    this.outcome = outcome === 'sent';
    this.#resolve?.(this.outcome);
  }
}

/** A message to one connection that waits for its turn, or for an answer of user code. */
export class PrivateMessage extends PendingCopy {
  readonly envelope: Envelope;
  /** A newer message under the same key may replace it while it waits. `undefined` once it is to leave. */
  conflate: string | undefined;

  constructor(envelope: Envelope, conflate?: string) {
    super();
    this.envelope = envelope;
    this.conflate = conflate;
  }

  get byteLength(): number {
    return this.envelope.byteLength;
  }
}
