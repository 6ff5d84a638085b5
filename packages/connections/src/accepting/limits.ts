/** How many clients an acceptor takes; `Infinity` where there is no limit. */
export interface LimitSettings {
  readonly maxConnections: number;
  readonly maxPerNamespace: number;
  readonly maxPending: number;
  readonly maxPerKey: number;
}

/** The status of a refusal: the server is full, or this client has enough. */
export type LimitStatus = 503 | 429;

/** Counts by key. A key exists exactly while something is counted under it. */
class KeyCounts {
  readonly #counts = new Map<unknown, number>();

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** @returns whether there was room */
  add(key: unknown, limit: number): boolean {
    const count = this.#counts.get(key) ?? 0;
    if (count >= limit) return false;
    this.#counts.set(key, count + 1);
    return true;
  }

  remove(key: unknown): void {
    const count = this.#counts.get(key) ?? 0;
    if (count > 1) this.#counts.set(key, count - 1);
    else this.#counts.delete(key);
  }
}

/** What the clients of one acceptor take up, against its limits. Pure: its caller says who comes and goes. */
export class Limits {
  readonly settings: LimitSettings;
  readonly clients = new KeyCounts();
  readonly lookups = new KeyCounts();
  readonly namespaces = new KeyCounts();
  readonly keys = new KeyCounts();

  constructor(settings: LimitSettings) {
    this.settings = settings;
  }

  /** A lookup begins. @returns a function that ends it, or `undefined` if too many are running */
  beginLookup(): (() => void) | undefined {
    if (!this.lookups.add(undefined, this.settings.maxPending)) return undefined;
    let isRunning = true;
    return () => {
      if (isRunning) this.lookups.remove(undefined);
      isRunning = false;
    };
  }
}

/** The place of one client. What it takes up is freed once; after that it takes nothing up any more. */
export class Seat {
  readonly #limits: Limits;
  readonly #held: (readonly [KeyCounts, key: unknown])[] = [];
  #isReleased = false;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @returns the status of a refusal, if there is no room */
  takePlace(): LimitStatus | undefined {
    return this.#take(this.#limits.clients, undefined, this.#limits.settings.maxConnections, 503);
  }

  /** @returns the status of a refusal, if the namespace is full */
  takeNamespace(namespace: string): LimitStatus | undefined {
    return this.#take(this.#limits.namespaces, namespace, this.#limits.settings.maxPerNamespace, 503);
  }

  /** @returns the status of a refusal, if the key has all the clients that it may have; `undefined` is no key */
  takeKey(key: unknown): LimitStatus | undefined {
    if (key === undefined) return undefined;
    return this.#take(this.#limits.keys, key, this.#limits.settings.maxPerKey, 429);
  }

  /** Frees all that it takes up. A second call changes nothing. */
  release(): void {
    this.#isReleased = true;
    for (const [tally, key] of this.#held.splice(0)) tally.remove(key);
  }

  #take(tally: KeyCounts, key: unknown, limit: number, status: LimitStatus): LimitStatus | undefined {
    if (this.#isReleased) return undefined;
    if (!tally.add(key, limit)) return status;
    this.#held.push([tally, key]);
    return undefined;
  }
}
