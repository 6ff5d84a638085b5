/**
 * Messages that were broadcast to rooms and wait for one connection, by their positions in the log of the namespace.
 *
 * A list that grows is a new list, and all that add the same message to the same list get the same new one. So all
 * connections that get the same messages hold one list, whichever rooms the messages came through:
 *
 * ```
 *  none ── 1 ── 4      in room x: messages 1 and 4
 *     │      └─ 5      in rooms x and y, left x before 4
 *     └─ 4             joined room x after 1
 * ```
 */
export class Picks {
  /** Of the last message; -1 in an empty list. */
  readonly position: number;
  /** Size of the plain frames, in bytes. */
  readonly byteLength: number;
  /** Size of the last one alone. */
  readonly ownBytes: number;
  readonly #previous: Picks | undefined;
  /** The list with one more message that was asked for last: positions only grow, so an older one is not asked for again. */
  #next: Picks | undefined;
  #part: { readonly end: number; readonly picks: Picks | undefined } | undefined;
  #rest: { readonly start: number; readonly picks: Picks } | undefined;

  constructor(previous?: Picks, position = -1, ownBytes = 0) {
    this.#previous = previous;
    this.position = position;
    this.ownBytes = ownBytes;
    this.byteLength = (previous?.byteLength ?? 0) + ownBytes;
  }

  /** The list with one more message. */
  with(position: number, byteLength: number): Picks {
    if (this.#next?.position !== position) this.#next = new Picks(this, position, byteLength);
    return this.#next;
  }

  /** The part before that position; `undefined` if it is empty. All who hold the list ask for the same one in a row. */
  before(end: number): Picks | undefined {
    if (this.position < end) return this.position === -1 ? undefined : this;
    if (this.#part?.end !== end) this.#part = { end, picks: this.#findBefore(end) };
    return this.#part.picks;
  }

  #findBefore(end: number): Picks | undefined {
    for (const picks of Picks.#newestFirst(this)) if (picks.position < end) return picks;
    return undefined;
  }

  /** The part from that position on, as a list that begins with `none`; `undefined` if it is empty. */
  from(start: number, none: Picks): Picks | undefined {
    if (this.position < start) return undefined;
    if (this.#rest?.start !== start) {
      const kept = [...Picks.#newestFirst(this)].filter(({ position }) => position >= start);
      let picks = none;
      for (const { position, ownBytes } of kept.reverse()) picks = picks.with(position, ownBytes);
      this.#rest = { start, picks };
    }
    return this.#rest.picks;
  }

  /** Their positions, in order. */
  positions(): number[] {
    const positions: number[] = [];
    for (const { position } of Picks.#newestFirst(this)) positions.push(position);
    return positions.reverse();
  }

  static *#newestFirst(last: Picks): Generator<Picks> {
    for (let picks = last; picks.#previous !== undefined; picks = picks.#previous) yield picks;
  }
}
