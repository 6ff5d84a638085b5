import type { Chat } from '../server/chat.js';
import { isLoopback } from './loopback.js';

/** The namespaces of the clients that the demo creates. */
export const BOTS = 'bots';
export const SLOW_READERS = 'slow readers';

const PRICE_INTERVAL_MS = 1_000;
const FLOOD_INTERVAL_MS = 50;
/**
 * 5 MB per second: the buffers of the kernel are full after a second or two, and then the bound of the pool applies.
 */
const FLOOD_BYTES = 256 * 1024;

/**
 * Sends a price to the bots each second, and to slow readers far more than they read. Anybody may join their
 * namespaces, so nothing is sent if other machines can reach the server.
 *
 * @param host that the server listens on
 */
export function makeTraffic(
  chat: Pick<Chat, 'hasNamespace' | 'broadcastMessage' | 'broadcastJsonMessage'>,
  host: string,
): void {
  if (!isLoopback(host)) return;
  let price = 100;
  const sendPrice = (namespace: string): void => {
    price = Math.max(1, price + Math.random() - 0.5);
    const message = { type: 'price', symbol: 'ACME', price: price.toFixed(2) };
    void chat.broadcastJsonMessage(namespace, message, { conflate: 'ACME', local: true });
  };
  setInterval(() => {
    if (chat.hasNamespace(BOTS)) sendPrice(BOTS);
  }, PRICE_INTERVAL_MS).unref();
  const flood = 'x'.repeat(FLOOD_BYTES);
  setInterval(() => {
    if (!chat.hasNamespace(SLOW_READERS)) return;
    sendPrice(SLOW_READERS);
    void chat.broadcastMessage(SLOW_READERS, flood, { local: true });
  }, FLOOD_INTERVAL_MS).unref();
}
