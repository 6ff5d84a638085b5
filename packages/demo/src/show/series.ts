import type { Second, ShowState } from './state.js';

/** As many seconds as the page shows. */
const MAX_SECONDS = 90;

/** Closes and connects of each node in each of the last seconds. */
export class Series {
  readonly #seconds = new Map<number, { readonly closes: number[]; readonly connects: number[] }>();
  readonly #nodes: number;

  constructor(nodes: number) {
    this.#nodes = nodes;
  }

  /** @param node from 0 */
  add(node: number, seconds: readonly Second[]): void {
    for (const [second, closes, connects] of seconds) {
      const row = this.#seconds.get(second) ?? { closes: this.#zeros(), connects: this.#zeros() };
      this.#seconds.set(second, row);
      row.closes[node] = (row.closes[node] ?? 0) + closes;
      row.connects[node] = (row.connects[node] ?? 0) + connects;
    }
  }

  /** The seconds before the current one, oldest first, including those in which nothing happened. */
  rows(now: number): ShowState['series'] {
    const last = Math.floor(now / 1000) - 1;
    const first = last - MAX_SECONDS + 1;
    for (const second of this.#seconds.keys()) if (second < first) this.#seconds.delete(second);
    return Array.from({ length: MAX_SECONDS }, (_, index) => {
      const row = this.#seconds.get(first + index);
      return [first + index, row?.closes ?? this.#zeros(), row?.connects ?? this.#zeros()];
    });
  }

  #zeros(): number[] {
    return new Array<number>(this.#nodes).fill(0);
  }
}
