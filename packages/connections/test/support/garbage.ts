import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, vi } from 'vitest';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Fails unless the garbage collector takes all of them. */
export async function expectCollected(refs: readonly WeakRef<object>[]): Promise<void> {
  await vi.waitFor(async () => {
    await nextTurn();
    collect();
    expect(refs.map((ref) => ref.deref() === undefined)).toEqual(refs.map(() => true));
  });
}
