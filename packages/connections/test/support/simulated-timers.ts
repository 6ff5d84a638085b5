import { setImmediate as nextTurn } from 'node:timers';

type Callback = (...args: unknown[]) => unknown;

/** A longer delay is 1 ms, as in Node. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** What a fake `setTimeout`, `setInterval` or `setImmediate` returns. */
class Timer {
  readonly call: () => unknown;
  readonly delayMs: number;
  readonly isInterval: boolean;
  readonly isImmediate: boolean;
  readonly #timers: SimulatedTimers;
  /** Grows with each timer: of two that are due at the same time the older one is called first. */
  readonly number: number;
  dueAtMs = 0;
  #isReferenced = true;

  constructor(
    timers: SimulatedTimers,
    number: number,
    call: () => unknown,
    { delayMs = 0, isInterval = false, isImmediate = false },
  ) {
    this.#timers = timers;
    this.number = number;
    this.call = call;
    this.delayMs = delayMs;
    this.isInterval = isInterval;
    this.isImmediate = isImmediate;
  }

  ref(): this {
    this.#isReferenced = true;
    return this;
  }

  unref(): this {
    this.#isReferenced = false;
    return this;
  }

  hasRef(): boolean {
    return this.#isReferenced;
  }

  refresh(): this {
    this.#timers.restart(this);
    return this;
  }

  close(): this {
    this.#timers.clear(this);
    return this;
  }

  /** Whether it is called before the other one. */
  isBefore(other: Timer): boolean {
    if (this.dueAtMs !== other.dueAtMs) return this.dueAtMs < other.dueAtMs;
    if (this.isImmediate !== other.isImmediate) return this.isImmediate;
    return this.number < other.number;
  }
}

/**
 * Timers of a clock that only moves when it is told to. They behave like the fake timers of Vitest, which look through
 * all timers twice for each one that they call, and take a quarter of the time of a simulated cluster.
 */
export class SimulatedTimers {
  #nowMs = 0;
  /** The next one last. */
  readonly #waiting: Timer[] = [];
  #count = 0;
  #isMoving = false;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many wait. */
  get count(): number {
    return this.#waiting.length;
  }

  /** What takes the place of the functions of the same name. */
  readonly functions = {
    setTimeout: (callback: Callback, delay?: number, ...args: unknown[]): Timer =>
      this.#add(() => callback(...args), { delayMs: wholeMs(delay) }),
    setInterval: (callback: Callback, delay?: number, ...args: unknown[]): Timer =>
      this.#add(() => callback(...args), { delayMs: wholeMs(delay), isInterval: true }),
    setImmediate: (callback: Callback, ...args: unknown[]): Timer =>
      this.#add(() => callback(...args), { isImmediate: true }),
    clearTimeout: (timer: unknown): void => this.clear(timer),
    clearInterval: (timer: unknown): void => this.clear(timer),
    clearImmediate: (timer: unknown): void => this.clear(timer),
  };

  #add(call: () => unknown, kind: object): Timer {
    const timer = new Timer(this, this.#count++, call, kind);
    this.#schedule(timer);
    return timer;
  }

  /** From now on, whether it waits or not. */
  restart(timer: Timer): void {
    this.clear(timer);
    this.#schedule(timer);
  }

  #schedule(timer: Timer): void {
    // In Node too, what a timer schedules without a delay is called later, and never at once.
    timer.dueAtMs = this.#nowMs + (timer.delayMs || (this.#isMoving ? 1 : 0));
    this.#insert(timer);
  }

  #insert(timer: Timer): void {
    let [low, high] = [0, this.#waiting.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (timer.isBefore(this.#waiting[middle]!)) low = middle + 1;
      else high = middle;
    }
    this.#waiting.splice(low, 0, timer);
  }

  clear(timer: unknown): void {
    // From the end: what is cleared is mostly due soon.
    const index = this.#waiting.lastIndexOf(timer as Timer);
    if (index !== -1) this.#waiting.splice(index, 1);
  }

  /** Takes the next one that is due by then, and moves the clock to it. */
  #take(untilMs: number): Timer | undefined {
    const timer = this.#waiting.at(-1);
    if (timer === undefined || timer.dueAtMs > untilMs) return undefined;
    this.#waiting.pop();
    this.#nowMs = Math.max(this.#nowMs, timer.dueAtMs);
    if (timer.isInterval) {
      timer.dueAtMs = this.#nowMs + Math.max(1, timer.delayMs);
      this.#insert(timer);
    }
    return timer;
  }

  /** Moves the clock by that many ms, and calls what is due meanwhile. @throws the first error of a timer */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    const errors: unknown[] = [];
    this.#isMoving = true;
    for (let next = this.#take(untilMs); next !== undefined; next = this.#take(untilMs))
      attempt(next, errors);
    this.#stopAt(untilMs, errors);
  }

  /** The same; promises settle between two timers, and so do events of the process. */
  async advanceAsync(ms: number): Promise<void> {
    await turn();
    const untilMs = this.#nowMs + ms;
    const errors: unknown[] = [];
    this.#isMoving = true;
    for (let next = this.#take(untilMs); next !== undefined; next = this.#take(untilMs)) {
      attempt(next, errors);
      await turn();
    }
    this.#stopAt(untilMs, errors);
  }

  #stopAt(atMs: number, errors: readonly unknown[]): void {
    this.#isMoving = false;
    this.#nowMs = Math.max(this.#nowMs, atMs);
    if (errors.length > 0) throw errors[0];
  }

  /** Moves the clock to the next timer, if there is one, and calls it. */
  advanceToNext(): void {
    const next = this.#waiting.at(-1);
    if (next === undefined) return;
    this.#isMoving = true;
    try {
      this.#take(next.dueAtMs)!.call();
    } finally {
      this.#isMoving = false;
    }
  }

  /** Until none waits. */
  async runAllAsync(): Promise<void> {
    await turn();
    while (this.count > 0) {
      this.advanceToNext();
      await turn();
    }
  }
}

/** Not a promise of `node:timers/promises`: this is called a hundred thousand times. */
const turn = (): Promise<void> => new Promise((resolve) => void nextTurn(resolve));

function attempt({ call }: Timer, errors: unknown[]): void {
  try {
    call();
  } catch (error) {
    errors.push(error);
  }
}

function wholeMs(delay: number | undefined): number {
  const ms = Math.trunc(Number(delay));
  if (!(ms > 0)) return 0;
  return ms > MAX_DELAY_MS ? 1 : ms;
}
