import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { SLOT_MS, TimingWheel, type Timed } from '../../src/liveness/timing-wheel.js';
import { useFakeClock } from '../support/fake-clock.js';
import { withhold } from '../support/unhandled.js';

/** Records when it is called, by the real clock (which is faked here). */
class Entry implements Timed {
  dueSlot = 0;
  readonly calledAtMs: number[] = [];
  readonly #onCall: (nowMs: number) => unknown;

  constructor(onCall: (nowMs: number) => unknown = () => undefined) {
    this.#onCall = onCall;
  }

  onDeadline(nowMs: number): void {
    this.calledAtMs.push(performance.now());
    this.#onCall(nowMs);
  }

  get calls(): number {
    return this.calledAtMs.length;
  }
}

/** Not all calls happen on a tick of the fake clock: the turn after a tick counts as the same time. */
const LATEST_MS = SLOT_MS * 2;

describe('a timing wheel', () => {
  useFakeClock();

  test.each([1, 50, 99, 100, 101, 150, 1_000, 1_234, 60_000])(
    'an entry due in %i ms is called once, not early, and at most two slots late',
    (delayMs) => {
      const wheel = new TimingWheel();
      const entry = new Entry();
      const startMs = performance.now();
      wheel.schedule(entry, wheel.nowMs + delayMs);
      vi.advanceTimersByTime(delayMs + 10 * SLOT_MS);
      expect(entry.calls).toBe(1);
      expect(entry.calledAtMs[0]! - startMs).toBeGreaterThanOrEqual(delayMs);
      expect(entry.calledAtMs[0]! - startMs).toBeLessThanOrEqual(delayMs + LATEST_MS);
    },
  );

  // The clock of a running wheel used to stand still between two ticks, so an entry that was scheduled just before a
  // tick was called up to a slot too early: a limit of 150 ms after 51 ms.
  test('an entry scheduled between two ticks is not early either', () => {
    for (let offsetMs = 0; offsetMs < SLOT_MS; offsetMs += 9) {
      const wheel = new TimingWheel();
      wheel.schedule(new Entry(), wheel.nowMs + 10_000);
      vi.advanceTimersByTime(500 + offsetMs);
      const entry = new Entry();
      const startMs = performance.now();
      wheel.schedule(entry, wheel.nowMs + 150);
      vi.advanceTimersByTime(1_000);
      expect(entry.calledAtMs[0]! - startMs).toBeGreaterThanOrEqual(150);
      expect(entry.calledAtMs[0]! - startMs).toBeLessThanOrEqual(150 + LATEST_MS);
    }
  });

  // A wheel that started counted its first slot as passed, so the entry waited for ever.
  test('an entry that is already due is called soon, also if the wheel was stopped', () => {
    for (const lateMs of [0, 1, 1_000]) {
      vi.advanceTimersByTime(12_345);
      const wheel = new TimingWheel();
      const entry = new Entry();
      vi.advanceTimersByTime(800);
      wheel.schedule(entry, wheel.nowMs - lateMs);
      vi.advanceTimersByTime(LATEST_MS);
      expect(entry.calls).toBe(1);
    }
  });

  test('moving a deadline further away costs nothing, and the entry reschedules itself', () => {
    const wheel = new TimingWheel();
    let dueAtMs = wheel.nowMs + 500;
    const entry = new Entry((nowMs) => {
      if (nowMs < dueAtMs) wheel.schedule(entry, dueAtMs);
    });
    wheel.schedule(entry, dueAtMs);
    const slot = entry.dueSlot;
    const timers = vi.getTimerCount();
    for (let message = 0; message < 100; message++) wheel.schedule(entry, (dueAtMs += 10));
    expect(entry.dueSlot).toBe(slot);
    expect(vi.getTimerCount()).toBe(timers);

    vi.advanceTimersByTime(5_000);
    expect(entry.calledAtMs).toHaveLength(2);
  });

  // If the entry left its slot and entered it again, the timer would be stopped and started each time, and would never
  // tick.
  test('an entry that is scheduled for the same time again and again is called then', () => {
    const wheel = new TimingWheel();
    const entry = new Entry();
    const dueAtMs = wheel.nowMs + 300;
    const startMs = performance.now();
    wheel.schedule(entry, dueAtMs);
    for (let step = 0; step < 10; step++) {
      vi.advanceTimersByTime(90);
      if (entry.calls === 0) wheel.schedule(entry, dueAtMs);
    }
    expect(entry.calledAtMs[0]! - startMs).toBeLessThanOrEqual(300 + LATEST_MS);
  });

  test('an entry whose deadline moves closer is called at the new deadline', () => {
    const wheel = new TimingWheel();
    const entry = new Entry();
    wheel.schedule(entry, wheel.nowMs + 60_000);
    wheel.schedule(entry, wheel.nowMs + 300);
    vi.advanceTimersByTime(300 + LATEST_MS);
    expect(entry.calls).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect(entry.calls).toBe(1);
  });

  test('a cancelled entry is not called, and can be scheduled again', () => {
    const wheel = new TimingWheel();
    const [cancelled, other] = [new Entry(), new Entry()];
    wheel.schedule(cancelled, wheel.nowMs + 300);
    wheel.schedule(other, wheel.nowMs + 300);
    wheel.cancel(cancelled);
    wheel.cancel(cancelled);
    vi.advanceTimersByTime(300 + LATEST_MS);
    expect([cancelled.calls, other.calls]).toEqual([0, 1]);

    wheel.schedule(cancelled, wheel.nowMs + 300);
    vi.advanceTimersByTime(300 + LATEST_MS);
    expect(cancelled.calls).toBe(1);
  });

  test('a thousand entries of one slot are spread over turns, 200 in each', () => {
    const wheel = new TimingWheel();
    let called = 0;
    const entries = Array.from({ length: 1_000 }, () => new Entry(() => called++));
    for (const entry of entries) wheel.schedule(entry, wheel.nowMs + 50);
    const perTurn: number[] = [];
    for (let turn = 0; turn < 20 && called < 1_000; turn++) {
      const before = called;
      vi.advanceTimersToNextTimer();
      if (called > before) perTurn.push(called - before);
    }
    expect(perTurn).toEqual([200, 200, 200, 200, 200]);
    vi.advanceTimersByTime(1_000);
    expect(entries.every(({ calls }) => calls === 1)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a tick during a full slot does not handle more entries per turn', () => {
    const intervals = vi.spyOn(globalThis, 'setInterval');
    const wheel = new TimingWheel();
    let called = 0;
    for (let count = 0; count < 600; count++) wheel.schedule(new Entry(() => called++), wheel.nowMs + 50);
    const tick = intervals.mock.calls[0]![0];
    intervals.mockRestore();
    while (called === 0) vi.advanceTimersToNextTimer();
    expect(called).toBe(200);
    // The ticks and one turn.
    expect(vi.getTimerCount()).toBe(2);
    tick();
    expect(vi.getTimerCount()).toBe(2);
    vi.advanceTimersByTime(LATEST_MS);
    expect(called).toBe(600);
    expect(vi.getTimerCount()).toBe(0);
  });

  // An entry that threw used to end the loop: the entries after it were never called, and after a full slot the wheel
  // called nothing any more.
  test('an entry that throws is an uncaught exception, and the entries after it are called all the same', async () => {
    withhold('uncaughtException');
    const uncaught = once(process, 'uncaughtException');
    const wheel = new TimingWheel();
    let called = 0;
    const fail = (): never => {
      throw new Error('entry failed');
    };
    wheel.schedule(new Entry(fail), wheel.nowMs + 50);
    for (let count = 0; count < 600; count++) wheel.schedule(new Entry(() => called++), wheel.nowMs + 50);
    vi.advanceTimersByTime(LATEST_MS);
    expect(called).toBe(600);
    expect((await uncaught)[0]).toEqual(new Error('entry failed'));
    expect(vi.getTimerCount()).toBe(0);
  });

  test('an entry that schedules itself again while it is called is called once per deadline', () => {
    const wheel = new TimingWheel();
    const entry = new Entry((nowMs) => {
      if (entry.calls < 3) wheel.schedule(entry, nowMs + 500);
    });
    wheel.schedule(entry, wheel.nowMs + 500);
    vi.advanceTimersByTime(10_000);
    expect(entry.calls).toBe(3);
    const [first, second, third] = entry.calledAtMs as [number, number, number];
    expect(second - first).toBeGreaterThanOrEqual(500);
    expect(third - second).toBeGreaterThanOrEqual(500);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('an entry that schedules itself for now is called in the next slot, not for ever in this one', () => {
    const wheel = new TimingWheel();
    const entry: Entry = new Entry((nowMs) => wheel.schedule(entry, nowMs));
    wheel.schedule(entry, wheel.nowMs + 100);
    vi.advanceTimersByTime(1_000);
    expect(entry.calls).toBeGreaterThan(1);
    expect(entry.calls).toBeLessThanOrEqual(11);
    wheel.cancel(entry);
  });

  test('an entry can cancel and move other entries of its slot while it is called', () => {
    const wheel = new TimingWheel();
    const [cancelled, moved] = [new Entry(), new Entry()];
    const first = new Entry((nowMs) => {
      wheel.cancel(cancelled);
      wheel.cancel(moved);
      wheel.schedule(moved, nowMs + 1_000);
    });
    for (const entry of [first, cancelled, moved]) wheel.schedule(entry, wheel.nowMs + 200);
    vi.advanceTimersByTime(200 + LATEST_MS);
    expect([first, cancelled, moved].map(({ calls }) => calls)).toEqual([1, 0, 0]);
    vi.advanceTimersByTime(2_000);
    expect([first, cancelled, moved].map(({ calls }) => calls)).toEqual([1, 0, 1]);
  });

  test('the timer runs only while something is scheduled', () => {
    const wheel = new TimingWheel();
    expect(vi.getTimerCount()).toBe(0);
    const [one, two] = [new Entry(), new Entry()];
    wheel.schedule(one, wheel.nowMs + 200);
    wheel.schedule(two, wheel.nowMs + 700);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(200 + LATEST_MS);
    expect([one.calls, vi.getTimerCount()]).toEqual([1, 1]);
    wheel.cancel(two);
    expect(vi.getTimerCount()).toBe(0);
    // It starts again, with the time that has passed since.
    vi.advanceTimersByTime(700);
    wheel.schedule(two, wheel.nowMs + 200);
    vi.advanceTimersByTime(200 + LATEST_MS);
    expect([two.calls, vi.getTimerCount()]).toEqual([1, 0]);
  });

  test('a wheel that starts again does not look through the slots that passed while it was stopped', () => {
    const wheel = new TimingWheel();
    const startMs = wheel.nowMs;
    // Reading the clock advances it.
    for (let second = 0; second < 200; second++) {
      vi.advanceTimersByTime(1_000);
      expect(wheel.nowMs - startMs).toBe((second + 1) * 1_000);
    }
    const entry = new Entry();
    wheel.schedule(entry, wheel.nowMs + 50);
    const looks = vi.spyOn(Map.prototype, 'get');
    vi.advanceTimersByTime(LATEST_MS);
    const count = looks.mock.calls.length;
    looks.mockRestore();
    expect(entry.calls).toBe(1);
    expect(count).toBeLessThan(100);
  });

  // A longer step used to count as one slot: with a loop that was blocked for a little over a second in each turn, a
  // timeout of 500 ms had not passed after seven seconds.
  test('a step of one second counts in full, and a longer step counts as one second', () => {
    const wheel = new TimingWheel();
    const startMs = wheel.nowMs;
    vi.advanceTimersByTime(1_000);
    expect(wheel.nowMs - startMs).toBe(1_000);
    vi.advanceTimersByTime(1_001);
    expect(wheel.nowMs - startMs).toBe(2_000);
    vi.advanceTimersByTime(3_600_000);
    expect(wheel.nowMs - startMs).toBe(3_000);
  });

  // When a laptop wakes or a container is thawed, every peer would seem to have been silent for an hour.
  test('a clock that jumps by an hour moves deadlines by at most one second', () => {
    const wheel = new TimingWheel();
    const entry = new Entry();
    wheel.schedule(entry, wheel.nowMs + 2_000);
    vi.advanceTimersByTime(SLOT_MS);
    const beforeMs = wheel.nowMs;

    const realNow = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => realNow() + 3_600_000);
    vi.advanceTimersByTime(SLOT_MS);
    expect(wheel.nowMs - beforeMs).toBeLessThanOrEqual(1_000);
    expect(entry.calls).toBe(0);

    vi.advanceTimersByTime(700);
    expect(entry.calls).toBe(0);
    vi.advanceTimersByTime(2_000);
    expect(entry.calls).toBe(1);
    clock.mockRestore();
  });

  test('a clock that goes backwards does not stop the wheel', () => {
    const wheel = new TimingWheel();
    const entry = new Entry();
    wheel.schedule(entry, wheel.nowMs + 500);
    const realNow = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => realNow() - 10_000);
    vi.advanceTimersByTime(500 + LATEST_MS);
    expect(entry.calls).toBe(1);
    clock.mockRestore();
  });
});

test('the timer of a wheel does not keep the process alive', () => {
  const setInterval = vi.spyOn(globalThis, 'setInterval');
  onTestFinished(() => void vi.restoreAllMocks());
  const wheel = new TimingWheel();
  const entry = new Entry();
  wheel.schedule(entry, wheel.nowMs + 60_000);
  const [timer] = setInterval.mock.results;
  expect((timer?.value as NodeJS.Timeout).hasRef()).toBe(false);
  wheel.cancel(entry);
});
