import type { AnyConnection } from '../connection.js';
import { toError } from '../errors.js';
import { Drain, type DrainOwner } from './drain.js';
import type { DrainPlan } from './drain-options.js';
import type { DrainReport } from '../drain-report.js';
import type { SharedRate } from './shared-rate.js';

/** The pool that is drained. */
export interface DrainsOwner extends DrainOwner {
  /** A drain begins: no newcomers are taken. */
  began(): void;
  ended(report: DrainReport): void;
  /** A drain was aborted: newcomers are taken again. */
  aborted(): void;
  failed(error: Error): void;
}

/** How to undo a drain that is done, by its report. */
const undos = new WeakMap<DrainReport, () => void>();

/** The pool that was drained takes newcomers again: the shutdown that the drain was for is aborted. */
export function undoDrain(report: DrainReport): void {
  undos.get(report)?.();
}

/** The drains of a pool. One runs at a time; a call in the meantime joins it. */
export class Drains {
  readonly #owner: DrainsOwner;
  /** Of the last drain: one that goes on in the place of an aborted one keeps the rate. */
  #rate: SharedRate | undefined;
  #running: { readonly drain: Drain; readonly report: Promise<DrainReport> } | undefined;

  constructor(owner: DrainsOwner) {
    this.#owner = owner;
  }

  /** The running drain: how many connections it has not closed yet, and its rate unless a deadline sets the pace. */
  get running(): { readonly remaining: number; readonly maxPerSecond: number | undefined } | undefined {
    const drain = this.#running?.drain;
    return drain && { remaining: drain.waiting, maxPerSecond: drain.maxPerSecond };
  }

  /** A connection is gone; it does not matter which side closed it. */
  onGone(connection: AnyConnection): void {
    this.#running?.drain.onGone(connection);
  }

  /** Runs the drain, or joins the running one. @throws the reason of the plan's signal, once it aborts */
  async run(plan: DrainPlan): Promise<DrainReport> {
    plan.signal?.throwIfAborted();
    while (this.#running !== undefined) {
      this.#running.drain.addSockets(plan.sockets);
      const report = await joined(this.#running.report, plan.signal);
      if (report !== undefined) return report;
      // The running drain was aborted by its own caller: this one goes on in its place.
    }
    const onProgress = plan.onProgress && this.#guarded(plan.onProgress);
    const drain = new Drain({ ...plan, onProgress }, this.#owner, this.#rate);
    this.#rate = drain.rate;
    let settle!: (report: Promise<DrainReport>) => void;
    // Set first: what the drain calls at once finds it running.
    const shared = new Promise<DrainReport>((resolve) => (settle = resolve));
    // Nobody may have joined to hear that it was aborted.
    shared.catch(() => undefined);
    this.#running = { drain, report: shared };
    this.#owner.began();
    this.#owner.changed();
    const report = this.#finish(drain);
    settle(report);
    return report;
  }

  async #finish(drain: Drain): Promise<DrainReport> {
    try {
      const report = await drain.run();
      this.#running = undefined;
      undos.set(report, () => this.#undo());
      this.#owner.ended(report);
      return report;
    } catch (error) {
      this.#running = undefined;
      this.#undo();
      throw error;
    }
  }

  #undo(): void {
    // Another drain has begun meanwhile.
    if (this.#running !== undefined) return;
    this.#owner.aborted();
    this.#owner.changed();
  }

  /** A callback of the user that cannot break the drain. */
  #guarded<T>(callback: (value: T) => unknown): (value: T) => Promise<void> {
    return async (value) => {
      try {
        await callback(value);
      } catch (error) {
        this.#owner.failed(toError(error));
      }
    };
  }
}

/** @returns the report of a running drain; `undefined` if it was aborted @throws the reason of the caller's signal */
async function joined(
  running: Promise<DrainReport>,
  signal: AbortSignal | undefined,
): Promise<DrainReport | undefined> {
  const report = running.catch(() => undefined);
  if (signal === undefined) return report;
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([report, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
