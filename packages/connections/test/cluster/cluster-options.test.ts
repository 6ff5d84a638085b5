import { expect, test } from 'vitest';
import { resolveClusterOptions } from '../../src/cluster/cluster-options.js';

test('a slower heartbeat alone makes nodes count as lost later', () => {
  expect(resolveClusterOptions({ heartbeat: 1_000 }).nodeTimeout).toBe(10_000);
  expect(resolveClusterOptions({ heartbeat: 6_000 })).toMatchObject({
    heartbeat: 6_000,
    nodeTimeout: 18_000,
  });
});

test('a nodeTimeout of less than two heartbeats is refused', () => {
  expect(() => resolveClusterOptions({ heartbeat: 6_000, nodeTimeout: 11_999 })).toThrow(
    new RangeError(
      'Expected cluster.nodeTimeout to be at least twice the heartbeat of 6000 ms, got `11999` (number)',
    ),
  );
  expect(resolveClusterOptions({ heartbeat: 6_000, nodeTimeout: 12_000 }).nodeTimeout).toBe(12_000);
});

test.each(['heartbeat', 'nodeTimeout', 'requestTimeout', 'joinTimeout', 'maxQueuedMs'] as const)(
  'cluster.%s must be a time that a timer can hold',
  (name) => {
    for (const ms of [null, '1']) expect(() => resolveClusterOptions({ [name]: ms })).toThrow(TypeError);
    for (const ms of [0, -1, NaN, 2 ** 31])
      expect(() => resolveClusterOptions({ [name]: ms })).toThrow(RangeError);
    expect(resolveClusterOptions({ [name]: undefined })).toEqual(resolveClusterOptions());
  },
);

test('cluster.nodeName must be a string', () => {
  expect(() => resolveClusterOptions({ nodeName: 5 as never })).toThrow(TypeError);
  expect(resolveClusterOptions({ nodeName: 'here' }).nodeName).toBe('here');
});

test('cluster.maxQueuedBytes must be an integer of at least 64 KiB', () => {
  for (const bytes of [null, '65536'])
    expect(() => resolveClusterOptions({ maxQueuedBytes: bytes as never })).toThrow(TypeError);
  for (const bytes of [65_535, 65_536.5, NaN, Infinity])
    expect(() => resolveClusterOptions({ maxQueuedBytes: bytes })).toThrow(RangeError);
  expect(resolveClusterOptions({ maxQueuedBytes: 65_536 }).maxQueuedBytes).toBe(65_536);
});

test('an unknown option of the cluster is refused', () => {
  expect(() => resolveClusterOptions({ heartBeat: 1 } as never)).toThrow(
    'Unknown option `heartBeat` in cluster',
  );
});
