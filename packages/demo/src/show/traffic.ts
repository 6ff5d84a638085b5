import type { Chat } from '../server/chat.js';
import { isLoopback } from './loopback.js';

/** The namespaces of the clients that the demo creates. */
export const BOTS = 'bots';
export const SLOW_READERS = 'slow readers';

export const STEP_INTERVAL_MS = 50;
/** A low rate must not keep people waiting for their bots. */
const MIN_BOTS_PER_STEP = 1;
const MAX_BOTS_PER_STEP = 10;

const PRICE_INTERVAL_MS = 1_000;
const FLOOD_INTERVAL_MS = 50;
/** 5 MB per second: the buffers of the kernel are full after a second or two, and then the bound of the pool applies. */
const FLOOD = JSON.stringify({ type: 'flood', text: 'x'.repeat(256 * 1024) });

/**
 * How many bots join or leave in a step. Per second they are no more than the rate, or 20 if the rate is lower: the chart
 * is to pass the line of the rate because of a storm, not because bots are added.
 */
export function botsPerStep(ratePerSecond: number): number {
  const bots = Math.floor((ratePerSecond * STEP_INTERVAL_MS) / 1_000);
  return Math.min(MAX_BOTS_PER_STEP, Math.max(MIN_BOTS_PER_STEP, bots));
}

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
  setInterval(() => {
    if (!chat.hasNamespace(SLOW_READERS)) return;
    sendPrice(SLOW_READERS);
    void chat.broadcastMessage(SLOW_READERS, FLOOD, { local: true });
  }, FLOOD_INTERVAL_MS).unref();
}
