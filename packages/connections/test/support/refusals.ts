import { expect, test } from 'vitest';
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

/** Nothing was sent, closed, added or removed, and everything still works. */
export async function expectUntouched(fixture: Fixture, registryBefore: unknown): Promise<void> {
  const { pool, first, second, stranger } = fixture;
  expect(registryOf(fixture)).toEqual(registryBefore);
  expect(pool.draining).toBe(false);
  for (const { socket, connection } of [first, second, stranger]) {
    expect(socket.sent).toEqual([]);
    expect(socket.closes).toEqual([]);
    expect(connection.closed).toBe(false);
  }
  await expect(pool.broadcastMessage('default', 'after')).resolves.toMatchObject({ recipients: 2, sent: 2 });
  expect([first.socket.sent, second.socket.sent, stranger.socket.sent]).toEqual([['after'], ['after'], []]);
}

/** A test for each call: it fails with that error, and has no other effect. */
export function expectRefusals(rows: readonly Refusal[]): void {
  test.each(rows)('%s is refused', async (_title, call, kind, expected, received) => {
    const { reasons, settle } = watchUnhandled();
    const fixture = await refusalFixture();
    const before = registryOf(fixture);
    const error = await errorOf(() => call(fixture));
    expect(error).toBeInstanceOf(kind);
    const { message } = error as Error;
    expect(message).toContain(expected);
    expect(message).toContain(received);
    expect(message).toMatch(/^Expected .+, got /);
    await expectUntouched(fixture, before);
    await settle();
    expect(reasons).toEqual([]);
  });
}
