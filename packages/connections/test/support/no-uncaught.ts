import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect } from 'vitest';

/** Fails every test of the file during which something would have ended the process. */
export function failOnUncaught(): void {
  const uncaught: unknown[] = [];
  const collect = (reason: unknown): void => void uncaught.push(reason);
  beforeEach(() => {
    process.on('unhandledRejection', collect);
    process.on('uncaughtException', collect);
  });
  afterEach(async () => {
    // Node reports an unhandled rejection at the end of a turn.
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    process.off('unhandledRejection', collect);
    process.off('uncaughtException', collect);
    expect(uncaught.splice(0)).toEqual([]);
  });
}
