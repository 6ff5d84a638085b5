import { AsyncLocalStorage } from 'node:async_hooks';
import { aroundEach, type TestContext } from 'vitest';

type OnTestFinished = TestContext['onTestFinished'];

const ofTest = new AsyncLocalStorage<OnTestFinished>();

// That of Vitest is of the test that was started last: not the one that asks, where tests run beside each other.
aroundEach((runTest, context) => ofTest.run(context.onTestFinished, runTest));

/** Has the running test end what it has started, also when it fails; the latest first. */
export const onTestFinished: OnTestFinished = (end, timeout) => {
  const register = ofTest.getStore();
  if (register === undefined) throw new Error('Expected a running test.');
  register(end, timeout);
};
