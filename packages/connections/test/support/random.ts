/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 up to but not including 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from 0 up to but not including `below`. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** One of the items, each by its weight. */
  weighted<Rest extends unknown[]>(items: readonly (readonly [weight: number, ...item: Rest])[]): Rest {
    let at = this.next() * items.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, ...item] of items) {
      at -= weight;
      if (at < 0) return item;
    }
    throw new RangeError('Expected items of some weight.');
  }

  /** Bytes; compressible ones are text with few different letters. */
  bytes(length: number, isCompressible: boolean): Buffer {
    const buffer = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) buffer[i] = isCompressible ? 97 + this.below(4) : this.below(256);
    return buffer;
  }
}
