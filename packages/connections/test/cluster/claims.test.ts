import assert from 'node:assert/strict';
import { describe, expect, test, vi } from 'vitest';
import { ByteReader } from '../../src/cluster/bytes.js';
import { Claims, type ClaimsOwner } from '../../src/cluster/claims.js';
import { wheel } from '../../src/liveness/timing-wheel.js';
import { decodeRecord } from '../../src/cluster/wire.js';
import type { OutgoingRecord } from '../../src/cluster/relay.js';
import { Random } from '../support/random.js';
import { runs } from '../support/runs.js';

/*
 * One connection for each id, over a broker that keeps no order between the messages of two nodes, such as NATS.
 */

/** Rounds of each seed. */
const ROUNDS = runs({ quick: 25, ci: 100 });

/** A node, which may hold a connection with the id. */
class Holder {
  readonly id: string;
  readonly joinedAtMs: number;
  readonly claims: Claims;
  hasJoined = false;
  holds = false;
  isScheduled = false;

  constructor(id: string, joinedAtMs: number, publish: (from: Holder, head: Buffer) => void) {
    this.id = id;
    this.joinedAtMs = joinedAtMs;
    const owner = {
      identity: { id },
      adapter: { traits: { totalOrder: false, echo: true } },
      relay: {
        add: (_channel: string, { head, onSequence, onPublished }: OutgoingRecord) => {
          onSequence?.(0);
          publish(this, head);
          onPublished?.(undefined, 0);
        },
      },
      local: {
        replace: () => {
          this.holds = false;
        },
      },
      schedule: () => {
        this.isScheduled = true;
      },
    };
    this.claims = new Claims(owner as unknown as ClaimsOwner);
  }

  join(): void {
    this.hasJoined = this.holds = true;
    vi.spyOn(Date, 'now').mockReturnValue(this.joinedAtMs);
    this.claims.joined('x', 'id');
  }

  leave(): void {
    this.holds = false;
    this.claims.left('x', 'id');
  }
}

/** Nodes, and the messages on their way between each two of them, in order. */
class Unordered {
  readonly holders: readonly Holder[];
  readonly #underWay = new Map<string, { readonly from: Holder; readonly to: Holder; heads: Buffer[] }>();

  /** @param joinedAtMs when each of them joins, by its own clock */
  constructor(joinedAtMs: readonly number[]) {
    this.holders = joinedAtMs.map(
      (atMs, index) => new Holder(`node ${index}`, atMs, (from, head) => this.#publish(from, head)),
    );
    for (const from of this.holders)
      for (const to of this.holders)
        if (from !== to) this.#underWay.set(`${from.id} ${to.id}`, { from, to, heads: [] });
  }

  /** Everything that can happen next. */
  get steps(): (() => void)[] {
    const joins = this.holders.filter(({ hasJoined }) => !hasJoined).map((holder) => () => holder.join());
    const arrivals = [...this.#underWay.values()]
      .filter(({ heads }) => heads.length > 0)
      .map(
        ({ from, to, heads }) =>
          () =>
            this.#arrive(from, to, heads.shift()!),
      );
    return [...joins, ...arrivals].map((step) => () => {
      step();
      this.#endTurn();
    });
  }

  get holding(): string[] {
    return this.holders.filter(({ holds }) => holds).map(({ id }) => id);
  }

  /** Drops all messages, as if nobody had subscribed yet. */
  loseAll(): void {
    for (const { heads } of this.#underWay.values()) heads.length = 0;
  }

  /** Moves the clock by two heartbeats. */
  repeat(): void {
    const laterMs = wheel.nowMs + 6_000;
    vi.spyOn(wheel, 'nowMs', 'get').mockReturnValue(laterMs);
    for (const holder of this.holders) holder.claims.repeat(6_000);
    this.#endTurn();
  }

  #publish(from: Holder, head: Buffer): void {
    for (const { from: sender, heads } of this.#underWay.values()) if (sender === from) heads.push(head);
  }

  #arrive(from: Holder, to: Holder, head: Buffer): void {
    const record = decodeRecord(new ByteReader(head));
    if (record?.kind !== 'claim') throw new Error('Expected a claim.');
    to.claims.onClaim('x', from.id, record);
  }

  #endTurn(): void {
    for (const holder of this.holders) {
      if (!holder.isScheduled) continue;
      holder.isScheduled = false;
      holder.claims.pump();
    }
  }
}

/** Runs every order in which things can happen. @returns how many there are */
function inEveryOrder(make: () => Unordered, check: (nodes: Unordered) => void): number {
  let orders = 0;
  const run = (path: readonly number[]): void => {
    const nodes = make();
    for (const choice of path) nodes.steps[choice]!();
    const { length } = nodes.steps;
    if (length === 0) {
      orders++;
      check(nodes);
    }
    for (let choice = 0; choice < length; choice++) run([...path, choice]);
  };
  run([]);
  return orders;
}

/** Times of joining by the clocks of the hosts, which may be wrong, and the node that must have the id at the end. */
const cases: readonly [string, readonly number[], string][] = [
  ['the first joined later', [2_000, 1_000], 'node 0'],
  ['the second joined later', [1_000, 2_000], 'node 1'],
  ['both joined in the same millisecond, and the higher id decides', [1_000, 1_000], 'node 1'],
];

describe('one connection for each id without an order of the broker', () => {
  test.each(cases)(
    'only the newest of two connections stays, whatever the order of events: %s',
    (_, joinedAtMs, winner) => {
      const orders = inEveryOrder(
        () => new Unordered(joinedAtMs),
        ({ holding }) => expect(holding).toEqual([winner]),
      );
      // At least the orders of two joins and two arrivals.
      expect(orders).toBeGreaterThanOrEqual(6);
    },
  );

  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    'only the newest of three or four connections stays, whatever the order in which claims arrive (seed %i)',
    (seed) => {
      const random = new Random(seed);
      for (let round = 0; round < ROUNDS; round++) {
        const joinedAtMs = Array.from({ length: 3 + random.below(2) }, () => random.below(3));
        const nodes = new Unordered(joinedAtMs);
        for (let { steps } = nodes; steps.length > 0; { steps } = nodes) random.pick(steps)();
        assert.deepEqual(nodes.holding, [`node ${joinedAtMs.lastIndexOf(Math.max(...joinedAtMs))}`]);
      }
    },
  );

  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    'at most one connection stays when others leave meanwhile (seed %i)',
    (seed) => {
      const random = new Random(seed);
      for (let round = 0; round < ROUNDS; round++) {
        const nodes = new Unordered(Array.from({ length: 3 }, () => random.below(3)));
        for (let { steps } = nodes; steps.length > 0; { steps } = nodes) {
          random.pick(steps)();
          const joined = nodes.holders.filter(({ holds }) => holds);
          if (joined.length > 0 && random.chance(0.1)) random.pick(joined).leave();
        }
        assert(nodes.holding.length <= 1);
      }
    },
  );

  test('a claim that was published before the other nodes listened is repeated exactly once', () => {
    // Both claims were published before the other node had subscribed, and both connections stayed for ever.
    const nodes = new Unordered([1_000, 2_000]);
    for (const holder of nodes.holders) holder.join();
    nodes.loseAll();
    expect(nodes.holding).toEqual(['node 0', 'node 1']);
    const run = (): number => {
      let steps = 0;
      for (; nodes.steps.length > 0; steps++) nodes.steps[0]!();
      return steps;
    };
    nodes.repeat();
    expect(run()).toBeGreaterThan(0);
    expect(nodes.holding).toEqual(['node 1']);
    nodes.repeat();
    expect(run()).toBe(0);
  });

  test('a connection that joined last loses if the clock of its node is slow', () => {
    const nodes = new Unordered([10_000, 5_000]);
    nodes.holders[0]!.join();
    while (nodes.steps.length > 1) nodes.steps.at(-1)!();
    nodes.holders[1]!.join();
    while (nodes.steps.length > 0) nodes.steps[0]!();
    expect(nodes.holding).toEqual(['node 0']);
  });
});
