import { expect, onTestFinished, test, vi } from 'vitest';
import { TimingWheel } from '../../src/liveness/timing-wheel.js';

// An immediate without a reference does not wake the event loop. On a quiet server each 200 entries waited for the next
// tick, and 19,000 terminations took ten seconds.
test('the turns after a tick follow at once, also on a quiet event loop', async () => {
  const { setImmediate: nextTurn } = globalThis;
  const isWaking: boolean[] = [];
  const spy = vi.spyOn(globalThis, 'setImmediate').mockImplementation((callback: () => void) => {
    const immediate = nextTurn(callback);
    // After the code that has made it.
    queueMicrotask(() => isWaking.push(immediate.hasRef()));
    return immediate;
  });
  onTestFinished(() => spy.mockRestore());

  const wheel = new TimingWheel();
  await new Promise<void>((resolve) => {
    let called = 0;
    for (let count = 0; count < 400; count++) {
      wheel.schedule({ dueSlot: 0, onDeadline: () => ++called === 400 && resolve() }, wheel.nowMs + 1);
    }
  });
  expect(isWaking.length).toBeGreaterThan(0);
  expect(isWaking).not.toContain(false);
});
