import { wheel, type Timed } from '../liveness/timing-wheel.js';

/** One deadline on the shared wheel: it can be moved either way, and never keeps the process alive. */
export class Alarm implements Timed {
  dueSlot = 0;
  #atMs = Infinity;
  readonly #ring: (nowMs: number) => void;

  constructor(ring: (nowMs: number) => void) {
    this.#ring = ring;
  }

  get isSet(): boolean {
    return this.#atMs !== Infinity;
  }

  /** Rings in that many ms, two slots of the wheel later at most: a fifth of a second. */
  set(inMs: number): void {
    this.#atMs = wheel.nowMs + inMs;
    wheel.schedule(this, this.#atMs);
  }

  clear(): void {
    this.#atMs = Infinity;
    wheel.cancel(this);
  }

  onDeadline(nowMs: number): void {
    if (nowMs < this.#atMs) {
      if (this.isSet) wheel.schedule(this, this.#atMs);
      return;
    }
    this.#atMs = Infinity;
    this.#ring(nowMs);
  }
}
