import { describe, expect, test } from 'vitest';
import { NodeIdentity } from '../../src/cluster/identity.js';

describe('the id of a node', () => {
  test('What was said under an earlier id is still known as its own.', () => {
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

  test('The numbers go on under a new id, so that an echo is never older than the last one.', () => {
    const identity = new NodeIdentity();
    identity.sequenceOf('a').next += 100;
    const { next } = identity.sequenceOf('a');
    identity.rename();
    expect(identity.sequenceOf('a').first).toBe(next);
  });

  test('Somebody who claims the id again and again does not fill the memory with earlier ids.', () => {
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

  test('A channel that was not used for a minute is forgotten, and begins again with higher numbers.', () => {
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
