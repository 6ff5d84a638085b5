import { closeReported, type Connection } from './connection.js';
import { kWasTerminated } from './pool-link.js';

/**
 * Time between two batches, in ms. A little over the second that the rate is counted in: timers and the network
 * are exact to some milliseconds, and clients must not see more than the rate within any one second.
 */
const BATCH_SPACING_MS = 1_020;
/** How much longer than the grace period a close may take before the connection is ended regardless, in ms. */
const OVERDUE_MS = 2_000;

type AnyConnection = Connection<unknown, unknown, unknown>;

/** What came of a drain. The three counts add up to the connections that were there when it began. */
export interface DrainReport {
  /** Closed by the drain, and answered (or gone) within the grace period. */
  readonly closed: number;
  /** Ended without an answer to their close frame. */
  readonly terminated: number;
  /** Left by themselves, or were closing already, before their turn came. */
  readonly left: number;
  /** From the call to the end of the last connection, in ms. */
  readonly tookMs: number;
}

export interface DrainPlan {
  readonly maxPerSecond: number;
  readonly code: number;
  readonly reason: string;
  /** Grace period for the answer to a close frame, in ms. */
  readonly closeTimeoutMs: number;
}

/**
 * Closes connections in batches of the rate, a second apart.
 *
 * 25 connections at 10 per second: 10 now, 10 after a second, 5 after two. Connections that leave by themselves
 * meanwhile shorten the plan.
 */
export async function drain(connections: readonly AnyConnection[], plan: DrainPlan): Promise<DrainReport> {
  const startedAtMs = performance.now();
  const open = new Set(connections);
  const counts = { closed: 0, terminated: 0, left: 0 };
  const endings: Promise<void>[] = [];

  const close = async (connection: AnyConnection): Promise<void> => {
    await closeReported(connection, plan.code, plan.reason);
    // An overridden close may settle without having closed anything.
    if (!connection.closed) connection.terminate();
    if (!open.delete(connection)) return;
    counts[connection[kWasTerminated] ? 'terminated' : 'closed']++;
  };

  let inBatch = 0;
  for (const connection of connections) {
    if (inBatch === plan.maxPerSecond) {
      await sleep(BATCH_SPACING_MS);
      inBatch = 0;
    }
    if (connection.closed) {
      counts.left++;
      open.delete(connection);
      endings.push(whenClosed(connection));
    } else {
      inBatch++;
      endings.push(close(connection));
    }
  }
  await withinMs(plan.closeTimeoutMs + OVERDUE_MS, Promise.all(endings));
  // Whatever an overridden close is waiting for: the drain ends.
  for (const connection of open) {
    connection.terminate();
    counts.terminated++;
  }
  return { ...counts, tookMs: performance.now() - startedAtMs };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function whenClosed(connection: AnyConnection): Promise<void> {
  return closeReported(connection, 1000, '');
}

/** Resolves with the promise or when the time is up, whichever comes first. */
async function withinMs(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise, timeUp]);
  clearTimeout(timer);
}
