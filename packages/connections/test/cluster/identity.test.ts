import { describe, expect, test } from 'vitest';
import { NodeIdentity } from '../../src/cluster/identity.js';

describe('the id of a node', () => {
  test('a node still recognizes messages that it sent under an earlier id', () => {
    const identity = new NodeIdentity();
    const { id } = identity;
    const { first } = identity.sequenceOf('a');
    identity.sequenceOf('a').next += 2;
    identity.rename();
    expect(identity.id).not.toBe(id);
    expect(
      [first - 1, first, first + 1, first + 2].map((sequence) => identity.originOf(id, 'a', sequence)),
    ).toEqual(['other', 'own', 'own', 'other']);
  });

  test('sequence numbers continue under a new id, so that no echo is older than the one before it', () => {
    const identity = new NodeIdentity();
    identity.sequenceOf('a').next += 100;
    const { next } = identity.sequenceOf('a');
    identity.rename();
    expect(identity.sequenceOf('a').first).toBe(next);
  });

  test('a node remembers its eight latest ids, however often another node claims them', () => {
    const identity = new NodeIdentity();
    const ids: string[] = [];
    for (let round = 0; round < 100; round++) {
      ids.push(identity.id);
      identity.sequenceOf('a').next++;
      identity.rename();
    }
    const known = ids.filter((id, round) => {
      const sequence = identity.sequenceOf('a').first - 100 + round;
      return identity.originOf(id, 'a', sequence) === 'own';
    });
    expect(known).toEqual(ids.slice(-8));
  });

  test('a channel that is unused for a minute is forgotten, and starts again with higher sequence numbers', () => {
    const identity = new NodeIdentity();
    const sequence = identity.sequenceOf('a');
    sequence.next += 5;
    identity.forget(59_999);
    expect(identity.sequenceOf('a')).toBe(sequence);
    identity.forget(60_000);
    expect(identity.sequenceOf('a')).toMatchObject({ first: sequence.next, starts: true });
    expect(identity.originOf(identity.id, 'b', 0)).toBe('own');
    expect(identity.originOf(identity.id, 'a', sequence.next)).toBe('clone');
  });
});
