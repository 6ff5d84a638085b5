import type { ClusterAdapter } from '../../src/index.js';
import type { Random } from './random.js';

/** Longest delay of a message, in ms. */
const MAX_DELAY_MS = 10;
/** The position of the sender's id in a batch. */
const SENDER = [4, 12] as const;

/**
 * The same adapter over a broker that keeps no order between two nodes: each message is delayed by its own random time.
 * The messages of one node stay in order, as the contract requires.
 */
export function unordered(adapter: ClusterAdapter, random: Random): ClusterAdapter {
  const dueAtMs = new Map<string, number>();
  return new Proxy(adapter, {
    get(target, name) {
      if (name === 'start') {
        const start: ClusterAdapter['start'] = (link) =>
          target.start({
            up: () => link.up(),
            down: (error) => link.down(error),
            warn: (error) => link.warn(error),
            receive: (channel, message) => {
              const sender = message.toString('hex', ...SENDER);
              const nowMs = performance.now();
              const atMs = Math.max(nowMs + random.below(MAX_DELAY_MS), dueAtMs.get(sender) ?? 0);
              dueAtMs.set(sender, atMs);
              setTimeout(() => link.receive(channel, message), atMs - nowMs);
            },
          });
        return start;
      }
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
