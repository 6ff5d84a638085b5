import type { PrivateMessage } from './delivery.js';

/** What a message that is held costs beside its payload and its key: its objects and promise, in bytes. */
const HELD_MESSAGE_BYTES = 768;

interface HeldValue {
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
  readonly #held = new Map<string, HeldValue>();
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

  /** That of the first one, in the bytes of the socket. */
  get position(): number {
    const [first] = this.#held.values();
    return first?.position ?? Infinity;
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

  /** Gives up what is held under this key. @returns whether there was something */
  discard(key: string): boolean {
    const held = this.#held.get(key);
    if (held === undefined) return false;
    this.#remove(key, held.message);
    held.message.count('conflated');
    return true;
  }

  #remove(key: string, { byteLength }: PrivateMessage): void {
    this.#held.delete(key);
    this.#byteLength -= byteLength;
    this.#cost -= byteLength + entryCost(key);
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
      this.#remove(key, message);
      message.conflate = undefined;
      taken.push(message);
    }
    return taken;
  }
}
