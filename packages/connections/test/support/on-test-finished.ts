import { AsyncLocalStorage } from 'node:async_hooks';
import type { TestContext } from 'vitest';

type OnTestFinished = TestContext['onTestFinished'];

/**
 * The `onTestFinished` of the running test. The one that Vitest exports belongs to the test that started last, which
 * among concurrent tests is not the one that calls it. `each-test.ts` sets it.
 */
export const ofTest = new AsyncLocalStorage<OnTestFinished>();

/**
 * The same in `unit`, where tests run one at a time: `each-unit-test.ts` sets it. An `AsyncLocalStorage` in use makes
 * every promise and timer of the process slower.
 */
export const ofOnlyTest: { onTestFinished: OnTestFinished | undefined } = { onTestFinished: undefined };

/** Ends what the running test has started, also when it fails; the latest first. */
export const onTestFinished: OnTestFinished = (end, timeout) => {
  const register = ofTest.getStore() ?? ofOnlyTest.onTestFinished;
  if (register === undefined) throw new Error('Expected a running test.');
  register(end, timeout);
};
