import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Limits, Seat } from '../../src/accepting/limits.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

const LIVES = runs({ quick: 1_000, ci: 10_000 });

const unlimited = {
  maxConnections: Infinity,
  maxPerNamespace: Infinity,
  maxPending: Infinity,
  maxPerKey: Infinity,
};

const totals = ({ clients, lookups, namespaces, keys }: Limits): number[] =>
  [clients, lookups, namespaces, keys].map(({ total }) => total);

describe('the limits of an acceptor', () => {
  test('limits refuse clients that exceed them, and a refused client does not count', () => {
    const limits = new Limits({ maxConnections: 3, maxPerNamespace: 2, maxPending: 1, maxPerKey: 1 });
    const [a, b, c, d] = [new Seat(limits), new Seat(limits), new Seat(limits), new Seat(limits)] as const;
    expect([a, b, c, d].map((seat) => seat.takePlace())).toEqual([undefined, undefined, undefined, 503]);
    expect([a, b, c].map((seat) => seat.takeNamespace('n'))).toEqual([undefined, undefined, 503]);
    expect([a.takeKey('k'), b.takeKey('k'), b.takeKey('l')]).toEqual([undefined, 429, undefined]);
    expect(totals(limits)).toEqual([3, 0, 2, 2]);
    for (const seat of [a, b, c, d]) seat.release();
    expect(totals(limits)).toEqual([0, 0, 0, 0]);
  });

  test('a seat without a key has no limit per key', () => {
    const limits = new Limits({ ...unlimited, maxPerKey: 1 });
    for (let seat = 0; seat < 5; seat++) expect(new Seat(limits).takeKey(undefined)).toBeUndefined();
    expect(totals(limits)).toEqual([0, 0, 0, 0]);
  });

  test('a seat that is released twice frees its place once', () => {
    const limits = new Limits(unlimited);
    const [seat, other] = [new Seat(limits), new Seat(limits)];
    seat.takePlace();
    other.takePlace();
    seat.release();
    seat.release();
    seat.takeNamespace('n');
    expect(totals(limits)).toEqual([1, 0, 0, 0]);
  });

  test('a lookup that ends twice counts as ended once', () => {
    const limits = new Limits({ ...unlimited, maxPending: 2 });
    const [first] = [limits.beginLookup(), limits.beginLookup()];
    expect(limits.beginLookup()).toBeUndefined();
    first!();
    first!();
    expect(totals(limits)).toEqual([0, 1, 0, 0]);
  });

  test('all limits are free again after thousands of clients have come and gone at random', () => {
    const random = new Random(7);
    const limits = new Limits({ maxConnections: 40, maxPerNamespace: 12, maxPending: 9, maxPerKey: 5 });
    const ends: (() => void)[] = [];
    for (let life = 0; life < LIVES; life++) {
      const seat = new Seat(limits);
      seat.takePlace();
      if (random.chance(0.7)) seat.takeKey(random.below(10));
      const end = limits.beginLookup();
      if (end) ends.push(end);
      if (random.chance(0.2)) seat.release();
      if (random.chance(0.6)) seat.takeNamespace(String(random.below(5)));
      ends.push(() => seat.release());
      while (ends.length > random.below(80)) ends.splice(random.below(ends.length), 1)[0]?.();
      const [clients = 0, lookups = 0] = totals(limits);
      assert(clients <= 40);
      assert(lookups <= 9);
    }
    for (const end of ends) end();
    expect(totals(limits)).toEqual([0, 0, 0, 0]);
  });
});
