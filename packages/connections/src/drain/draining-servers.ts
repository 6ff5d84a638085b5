import type { Server } from 'node:http';

/** The drains that are running for the clients of a server. */
const drains = new WeakMap<Server, Set<Promise<unknown>>>();

/**
 * Runs the drain of one pool, then waits for those of other pools whose clients came through the same server. Closing the
 * server, or terminating clients of its `WebSocketServer`, any earlier would cut off clients whose turn has not come.
 *
 * @throws (rejects) if the drain does, or the reason of the signal if it aborts while the others are waited for
 */
export async function drainWithOthers<T>(
  server: Server,
  drain: () => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const running = drains.get(server) ?? new Set();
  drains.set(server, running);
  const own = drain();
  running.add(own);
  let result: T;
  try {
    result = await own;
  } finally {
    running.delete(own);
  }
  while (running.size > 0) {
    // What becomes of the others is told by their own shutdowns.
    await Promise.allSettled(running);
    signal?.throwIfAborted();
  }
  return result;
}
