import type { PrivateMessage } from './delivery.js';

/**
 * Messages held back for a reader that is behind, by their `conflate` key. A newer message replaces the one under its
 * key, and takes its place in the order.
 */
export class LatestValues {
  readonly #held = new Map<string, PrivateMessage>();
  #byteLength = 0;

  get size(): number {
    return this.#held.size;
  }

  /** Size of their plain frames, in bytes. */
  get byteLength(): number {
    return this.#byteLength;
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** Size of the message that one under this key would replace, in bytes. */
  bytesUnder(key: string): number {
    return this.#held.get(key)?.byteLength ?? 0;
  }

  /** @returns whether an older message was replaced */
  hold(key: string, message: PrivateMessage): boolean {
    const replaced = this.#held.get(key);
    this.#held.set(key, message);
    this.#byteLength += message.byteLength - (replaced?.byteLength ?? 0);
    replaced?.count('conflated');
    return replaced !== undefined;
  }

  /** Takes the first ones, to be sent now, as many as fit into so many bytes, and at least one. */
  take(maxBytes: number): PrivateMessage[] {
    const taken: PrivateMessage[] = [];
    let bytes = 0;
    for (const [key, message] of this.#held) {
      if (taken.length > 0 && bytes + message.byteLength > maxBytes) break;
      bytes += message.byteLength;
      message.conflate = undefined;
      taken.push(message);
      this.#held.delete(key);
    }
    this.#byteLength -= bytes;
    return taken;
  }
}
