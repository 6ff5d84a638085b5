import { AsyncLocalStorage } from 'node:async_hooks';
import type { TestContext } from 'vitest';

type OnTestFinished = TestContext['onTestFinished'];

/**
 * That of the running test. The one that Vitest exports belongs to the test that was started last: not the one that asks,
 * where tests run beside each other. `each-test.ts` sets it.
 */
export const ofTest = new AsyncLocalStorage<OnTestFinished>();

/** Has the running test end what it has started, also when it fails; the latest first. */
export const onTestFinished: OnTestFinished = (end, timeout) => {
  const register = ofTest.getStore();
  if (register === undefined) throw new Error('Expected a running test.');
  register(end, timeout);
};
