import type { PrivateMessage } from './delivery.js';

/** What a message that is held costs beside its payload and its key: its objects and promise, in bytes. */
const HELD_MESSAGE_BYTES = 768;

interface Held {
  readonly message: PrivateMessage;
  readonly position: number;
}

function entryCost(key: string): number {
  return HELD_MESSAGE_BYTES + 2 * key.length;
}

/**
 * Messages held back for a reader that is behind, by their `conflate` key. A newer message replaces the one under its
 * key, and takes its place in the order.
 */
export class LatestValues {
  readonly #held = new Map<string, Held>();
  #byteLength = 0;
  #cost = 0;

  get size(): number {
    return this.#held.size;
  }

  /** Size of their plain frames, in bytes. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Memory that they take, in bytes. */
  get cost(): number {
    return this.#cost;
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** What a message under this key adds to the cost, in bytes. */
  costOf(key: string, byteLength: number): number {
    const replaced = this.#held.get(key)?.message;
    return replaced === undefined ? byteLength + entryCost(key) : byteLength - replaced.byteLength;
  }

  /**
   * @param position where its turn would have come in the bytes of the socket
   * @returns whether an older message was replaced
   */
  hold(key: string, message: PrivateMessage, position: number): boolean {
    const replaced = this.#held.get(key);
    this.#cost += this.costOf(key, message.byteLength);
    this.#byteLength += message.byteLength - (replaced?.message.byteLength ?? 0);
    this.#held.set(key, { message, position: replaced?.position ?? position });
    replaced?.message.count('conflated');
    return replaced !== undefined;
  }

  /**
   * Takes the first ones, to be sent now.
   *
   * @param maxBytes as many as fit into so many bytes, and at least one
   * @param taken those whose turn would have come before that position in the bytes of the socket
   */
  take(maxBytes: number, position = Infinity): PrivateMessage[] {
    const taken: PrivateMessage[] = [];
    let bytes = 0;
    for (const [key, held] of this.#held) {
      const { message } = held;
      if (held.position > position || (taken.length > 0 && bytes + message.byteLength > maxBytes)) break;
      bytes += message.byteLength;
      this.#cost -= message.byteLength + entryCost(key);
      message.conflate = undefined;
      taken.push(message);
      this.#held.delete(key);
    }
    this.#byteLength -= bytes;
    return taken;
  }
}
