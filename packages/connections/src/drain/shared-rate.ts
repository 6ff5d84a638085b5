import { AFTERMATH_MS, type Company } from '../cluster/drainers.js';
import { RateLimiter, WINDOW_MS } from './rate-limiter.js';

/** A drain that may have company listens for so long before its first close, in ms: others may begin at the same moment. */
const LISTEN_MS = 250;
/** A node that has no share looks after that time whether another one is done, in ms. */
const NO_SHARE_MS = 100;

/** What this node knows at some moment. */
interface View {
  readonly nowMs: number;
  readonly company: Company;
  /** The lowest rate of all that drain. */
  readonly rate: number;
  /** How many drain, this one included. */
  readonly nodes: number;
  /** The place of this one among them, from 0. */
  readonly rank: number;
}

/**
 * The rate of a drain, which nodes that drain at the same time share: together they close no more in any one second than
 * the lowest of their rates. The lowest, because a rate says what the
 * rest of the cluster can take, and must hold for each node.
 *
 * There is no leader. Each node takes its share of the rate by the place of its id: of 10 per second, three nodes have 4, 3
 * and 3. A share falls as soon as another node begins, and rises `AFTERMATH_MS` after one has ended: by then what that
 * one closed has left the window. For the same reason a node that begins while others drain waits for that time before
 * its first close. So at any moment the windows of all nodes add up to one rate, as far as they know of each other.
 *
 * Example: node A closes 100 per second, and node B begins. A hears of it and closes nobody until only 50 are left in its
 * window, half a second later. B closes its first ones 1,250 ms after its beginning, at 50 per second. When A is done,
 * B goes on at 50 per second for 1,250 ms and then at 100.
 *
 * Of fewer closes per second than nodes the first ones have one each, and the others wait until one of these is done.
 */
export class SharedRate {
  readonly #own: number;
  readonly #companyAt: (nowMs: number) => Company;
  readonly #limiter: RateLimiter;
  /** What was closed within the share: all of it, unless a deadline goes before it. */
  readonly #kept: RateLimiter;
  #beganAtMs = 0;
  #listensUntilMs = 0;
  /** Of the share, what was not used yet, with its fraction. */
  #credit = 0;
  #creditAtMs: number | undefined;

  /** @param earlier its window goes on: what passed there counts here */
  constructor(maxPerSecond: number, companyAt: (nowMs: number) => Company, earlier?: SharedRate) {
    this.#own = maxPerSecond;
    this.#companyAt = companyAt;
    this.#limiter = new RateLimiter(maxPerSecond, earlier === undefined ? undefined : earlier.#limiter);
    this.#kept = new RateLimiter(maxPerSecond, this.#limiter);
    this.begin();
  }

  /** Others may count on this node to close nobody: it waits as it did at first. */
  begin(): void {
    this.#beganAtMs = performance.now();
    const { settlesInMs } = this.#companyAt(this.#beganAtMs);
    this.#listensUntilMs = this.#beganAtMs + Math.max(LISTEN_MS, settlesInMs);
  }

  /** How many may be closed now. */
  allowed(nowMs: number): number {
    return this.#allowed(this.#limiter, this.#viewAt(nowMs));
  }

  /** How long until some may be closed, as far as is known now, in ms; 0 when some may be closed now. */
  waitMs(nowMs: number): number {
    const view = this.#viewAt(nowMs);
    if (this.#allowed(this.#limiter, view) > 0) return 0;
    const readyInMs = this.#readyAtMs(view) - nowMs;
    if (readyInMs > 0) return readyInMs;
    return shareOf(view) === 0 ? NO_SHARE_MS : this.#limiter.waitMs(nowMs);
  }

  /** How many of a slice that is due are to be closed: the share of it, spread evenly over the time. */
  sliceAt(slice: number, nowMs: number): number {
    const view = this.#viewAt(nowMs);
    const share = shareOf(view);
    if (share >= this.#own) {
      this.#creditAtMs = undefined;
      return slice;
    }
    const part = (slice * share) / this.#own;
    // The first slice is at least one: a small share need not be saved up.
    const sinceMs = this.#creditAtMs === undefined ? undefined : nowMs - this.#creditAtMs;
    const earned = sinceMs === undefined ? Math.max(1, part) : (sinceMs / WINDOW_MS) * share;
    this.#creditAtMs = nowMs;
    // No more than a slice and a fraction: what was missed is not caught up with at once.
    this.#credit = Math.min(this.#credit + earned, part + 1);
    return Math.floor(this.#credit);
  }

  /** That many were closed. @returns how many of them are beyond the share */
  record(nowMs: number, count: number): number {
    if (count === 0) return 0;
    const kept = Math.min(count, Math.max(0, this.#allowed(this.#kept, this.#viewAt(nowMs))));
    this.#kept.record(nowMs, kept);
    this.#limiter.record(nowMs, count);
    this.#credit = Math.max(0, this.#credit - count);
    return count - kept;
  }

  #viewAt(nowMs: number): View {
    const company = this.#companyAt(nowMs);
    const { id, drainers } = company;
    const rates = drainers.map(({ maxPerSecond = Infinity }) => maxPerSecond);
    const rank = drainers.filter((other) => other.id < id).length;
    return { nowMs, company, rate: Math.min(this.#own, ...rates), nodes: drainers.length + 1, rank };
  }

  #allowed(limiter: RateLimiter, view: View): number {
    if (view.rate === Infinity) return Infinity;
    if (view.nowMs < this.#readyAtMs(view)) return 0;
    limiter.maxPerSecond = shareOf(view);
    return limiter.allowed(view.nowMs);
  }

  /** When this node may close its first one. */
  #readyAtMs({ nodes, company }: View): number {
    if (nodes > 1) return this.#beganAtMs + AFTERMATH_MS;
    return company.isPossible ? this.#listensUntilMs : this.#beganAtMs;
  }
}

/** This node's part of the rate: a whole number, so that the parts of all nodes add up to it. */
function shareOf({ rate, nodes, rank }: View): number {
  return Math.max(0, Math.ceil((rate - rank) / nodes));
}
