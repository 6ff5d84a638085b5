import { describe } from 'vitest';
import { memoryBus } from '../../src/testing.js';
import { describeAdapter } from '../support/describe-adapter.js';

describe.each([true, false])('echo: %s', (echo) => {
  const bus = memoryBus({ echo, countsReceivers: echo });

  describeAdapter(`memoryBus with echo: ${echo}`, {
    broker: { kill: () => bus.stop(), start: () => bus.start() },
    node: () =>
      Promise.resolve({
        adapter: bus.adapter(),
        listeners: () => 0,
        isConnected: () => Promise.resolve(true),
        end: () => undefined,
      }),
  });
});
