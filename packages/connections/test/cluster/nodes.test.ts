import { expect, test } from 'vitest';
import { Nodes } from '../../src/cluster/nodes.js';
import type { Presence } from '../../src/cluster/wire.js';
import { expectCollected } from '../support/garbage.js';
import { slowClock } from '../support/slow-clock.js';

function presence(remaining: number): Presence {
  const draining = { remaining, maxPerSecond: 10 };
  const counts = { connections: remaining, namespaces: 1 };
  return {
    minVersion: 1,
    maxVersion: 1,
    name: 'x',
    isPublishOnly: false,
    isBack: false,
    ...counts,
    draining,
  };
}

test('a node that has drained is forgotten with a later heartbeat, also by a node that never drains', async () => {
  // Only a drain of its own looked at them: a process that stays remembered all that were ever replaced beside it.
  const { pass } = slowClock();
  const nodes = new Nodes(10_000, { changed: () => undefined, forgotten: () => undefined });
  nodes.heard('a', [{ kind: 'beat', presence: presence(5) }]);
  const refs = nodes.drainers.at(performance.now()).map((drainer) => new WeakRef(drainer));
  expect(refs.map((ref) => ref.deref())).toEqual([{ id: 'a', maxPerSecond: 10 }]);
  nodes.heard('a', [{ kind: 'beat', presence: presence(0) }]);
  pass(1_249);
  nodes.sweep();
  expect(nodes.drainers.at(performance.now())).toHaveLength(1);
  pass(1);
  nodes.sweep();
  await expectCollected(refs);
});
