import { setImmediate as nextTurn } from 'node:timers/promises';
import { onTestFinished } from './on-test-finished.js';

/** Hides what would end the process from Vitest, which would otherwise fail the run, until the test has ended. */
export function withhold(event: 'unhandledRejection' | 'uncaughtException'): void {
  const others = process.rawListeners(event) as NodeJS.UnhandledRejectionListener[];
  process.removeAllListeners(event);
  onTestFinished(() => {
    process.removeAllListeners(event);
    for (const other of others) process.on(event, other);
  });
}

/** Collects what would end the process; `settle` waits the turns that rejections need to be reported. */
export function watchUnhandled(): { readonly reasons: unknown[]; settle: () => Promise<unknown[]> } {
  const reasons: unknown[] = [];
  const collect = (reason: unknown): void => void reasons.push(reason);
  process.on('unhandledRejection', collect);
  onTestFinished(() => void process.off('unhandledRejection', collect));
  const settle = async (): Promise<unknown[]> => {
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    return reasons;
  };
  return { reasons, settle };
}
