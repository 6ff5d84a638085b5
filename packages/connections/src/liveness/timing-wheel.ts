import { inOwnContext } from '../own-context.js';

/** Width of a slot in ms: how late a deadline may be noticed. */
export const SLOT_MS = 100;
/** A longer step of the clock is a stall or a suspension and counts as this much, in ms. */
const MAX_STEP_MS = 1_000;
/** Entries handled in one turn of the event loop; the rest of a full slot follows in the next turns. */
const ENTRIES_PER_TURN = 200;

/** Something with a deadline. It is in one slot at most. */
export interface Timed {
  /** The slot it waits in; 0 for none. Only the wheel writes it. */
  dueSlot: number;
  /** Called when its slot has passed. It schedules itself again for whatever it waits for next. */
  onDeadline(nowMs: number): void;
}

/**
 * Deadlines of many objects on one timer.
 *
 * The timer runs only while something is scheduled and never keeps the process alive. Moving a deadline further
 * away costs nothing: the entry stays where it is and schedules itself again when its slot comes.
 */
export class TimingWheel {
  readonly #slots = new Map<number, Set<Timed>>();
  #timer: NodeJS.Timeout | undefined;
  #nowMs = SLOT_MS;
  #readAtMs = performance.now();
  #passedSlot = 0;
  /** Entries whose slot has passed and whose turn is still to come. */
  #due: Timed[] = [];

  /** The wheel's clock in ms: monotonic, exact to a slot while the wheel turns. Of a suspension it counts a second. */
  get nowMs(): number {
    this.#advance();
    return this.#nowMs;
  }

  /**
   * Calls the entry at about that time. An entry that waits for an earlier slot stays there: when it is called too
   * early, it schedules itself again.
   */
  schedule(entry: Timed, atMs: number): void {
    if (this.#timer === undefined) this.#catchUp();
    // Rounded up and never a slot that has passed: early is wrong, late by a slot is not.
    const slot = Math.max(Math.ceil(atMs / SLOT_MS), this.#passedSlot + 1);
    if (entry.dueSlot !== 0 && entry.dueSlot <= slot) return;
    this.cancel(entry);
    let entries = this.#slots.get(slot);
    if (entries === undefined) this.#slots.set(slot, (entries = new Set()));
    entries.add(entry);
    entry.dueSlot = slot;
    if (this.#timer === undefined) this.#start();
  }

  /** Takes the entry out, so that the wheel holds no reference to it. */
  cancel(entry: Timed): void {
    const slot = entry.dueSlot;
    const entries = this.#slots.get(slot);
    entry.dueSlot = 0;
    if (!entries?.delete(entry) || entries.size > 0) return;
    this.#slots.delete(slot);
    this.#stopWhenEmpty();
  }

  /** Skips the slots that passed while the wheel was stopped; they were empty. */
  #catchUp(): void {
    this.#advance();
    this.#passedSlot = Math.floor(this.#nowMs / SLOT_MS);
  }

  #start(): void {
    this.#timer = inOwnContext(() => setInterval(() => this.#turn(), SLOT_MS).unref());
  }

  #stopWhenEmpty(): void {
    if (this.#slots.size > 0 || this.#due.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #advance(): void {
    const readAtMs = performance.now();
    const stepMs = readAtMs - this.#readAtMs;
    this.#nowMs += Math.min(Math.max(stepMs, 0), MAX_STEP_MS);
    this.#readAtMs = readAtMs;
  }

  #turn(): void {
    this.#advance();
    const reached = Math.floor(this.#nowMs / SLOT_MS);
    const idle = this.#due.length === 0;
    while (this.#passedSlot < reached) {
      const entries = this.#slots.get(++this.#passedSlot);
      if (entries === undefined) continue;
      this.#slots.delete(this.#passedSlot);
      for (const entry of entries) this.#due.push(entry);
    }
    // After the poll phase: bytes that arrived during a stall are read before anybody is declared silent.
    if (idle && this.#due.length > 0) setImmediate(this.#handleDue);
  }

  #handleDue = (): void => {
    for (const entry of this.#due.splice(0, ENTRIES_PER_TURN)) {
      // Cancelled, or moved to a later slot, since its own slot passed.
      if (entry.dueSlot === 0 || entry.dueSlot > this.#passedSlot) continue;
      entry.dueSlot = 0;
      try {
        // Not the time of the tick: the entries before it may have taken long.
        entry.onDeadline(this.nowMs);
      } catch (error) {
        // It becomes an uncaught exception, but the other entries are still called.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    if (this.#due.length > 0) setImmediate(this.#handleDue);
    else this.#stopWhenEmpty();
  };
}

/** The wheel that all connections of the process share. */
export const wheel = new TimingWheel();
