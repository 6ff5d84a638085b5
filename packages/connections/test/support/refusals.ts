import assert from 'node:assert/strict';
import { test } from 'vitest';
import { ConnectionsPool } from '../../src/index.js';
import { connectInMemory } from './memory-socket.js';
import { watchUnhandled } from './unhandled.js';

/** Arguments that JavaScript callers may pass, whatever the type says. */
export const anything = (value: unknown): never => value as never;

export type Kind = typeof TypeError | typeof RangeError;

export type Fixture = Awaited<ReturnType<typeof refusalFixture>>;

/** A call that must fail, and what its error must say: what was expected, and what was received. */
export type Refusal = readonly [
  title: string,
  call: (fixture: Fixture) => unknown,
  kind: Kind,
  expected: string,
  received: string,
];

/** A pool with two members, and a connection in no pool. */
export async function refusalFixture() {
  const pool = new ConnectionsPool();
  const first = connectInMemory('first');
  const second = connectInMemory('second');
  const stranger = connectInMemory('stranger');
  await pool.newConnection(first.connection);
  await pool.newConnection(second.connection);
  return { pool, first, second, stranger, connection: first.connection };
}

export const registryOf = ({ pool }: Fixture): unknown =>
  [...pool.connections].map(([namespace, held]) => [namespace, [...held]]);

/** The error of a call, thrown or rejected. */
export async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('The call did not fail');
}

/**
 * Nothing was sent, closed, added or removed, and everything still works.
 *
 * By `assert`, which takes a fraction of the time of `expect`: hundreds of tests end with this.
 */
export async function expectUntouched(fixture: Fixture, registryBefore: unknown): Promise<void> {
  const { pool, first, second, stranger } = fixture;
  assert.deepEqual(registryOf(fixture), registryBefore);
  assert.equal(pool.draining, false);
  for (const { socket, connection } of [first, second, stranger]) {
    assert.deepEqual([socket.sent, socket.closes, connection.closed], [[], [], false]);
  }
  const { recipients, sent } = await pool.broadcastMessage('default', 'after');
  assert.deepEqual({ recipients, sent }, { recipients: 2, sent: 2 });
  assert.deepEqual(
    [first, second, stranger].map(({ socket }) => socket.sent),
    [['after'], ['after'], []],
  );
}

/** A test for each call: it fails with that error, and has no other effect. */
export function expectRefusals(rows: readonly Refusal[]): void {
  test.each(rows)('%s is refused', async (_title, call, kind, expected, received) => {
    const { reasons, settle } = watchUnhandled();
    const fixture = await refusalFixture();
    const before = registryOf(fixture);
    const error = await errorOf(() => call(fixture));
    assert(error instanceof kind);
    for (const part of [expected, received])
      assert(error.message.includes(part), `${error.message} lacks ${part}`);
    assert.match(error.message, /^Expected .+, got /);
    await expectUntouched(fixture, before);
    await settle();
    assert.deepEqual(reasons, []);
  });
}
