import type { Chat } from '../server/chat.js';
import { SLOW_READERS } from './traffic.js';
import type { Report, RoundTrips, Second } from './state.js';

export const REPORT_INTERVAL_MS = 250;

/** Counts what happens on a node, and reports it several times a second. */
export class Reporter {
  readonly #chat: Chat;
  #seconds = new Map<number, [closes: number, connects: number]>();

  /**
   * @param report called with each report, until the process ends
   * @param happened called with a sentence about what page and pool do not show otherwise
   */
  constructor(chat: Chat, report: (report: Report) => void, happened: (text: string) => void) {
    this.#chat = chat;
    chat.on('connection', () => this.#second()[1]++);
    chat.on('disconnection', () => this.#second()[0]++);
    chat.on('slow', ({ data }, bytes) => {
      const waiting = `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
      happened(
        `${data.name} does not read: ${waiting} wait for it, and more would exceed the bound. It is closed with 1013.`,
      );
    });
    chat.on('disconnection', ({ namespace, data }, code) => {
      if (namespace === SLOW_READERS)
        happened(`${data.name} is gone (${code ?? 'removed'}), and its memory is free.`);
    });
    chat.on('drain', ({ closed, terminated, left, tookMs }) => {
      const took = (tookMs / 1000).toFixed(1);
      happened(`Drained in ${took} s: ${closed} closed, ${terminated} cut off, ${left} left by themselves.`);
      // The process may end before the next report is due.
      report(this.#take());
    });
    chat.on('degraded', ({ stage, error }) =>
      happened(`The relay does not work (${stage}): ${error?.message ?? 'no answer'}`),
    );
    chat.on('recovered', ({ tookMs, dropped }) =>
      happened(`The relay works again after ${Math.round(tookMs)} ms; ${dropped} messages were not relayed.`),
    );
    setInterval(() => report(this.#take()), REPORT_INTERVAL_MS).unref();
  }

  #second(): [closes: number, connects: number] {
    const second = Math.floor(Date.now() / 1000);
    const counts = this.#seconds.get(second) ?? [0, 0];
    this.#seconds.set(second, counts);
    return counts;
  }

  #take(): Report {
    const { cluster } = this.#chat;
    const seconds = [...this.#seconds].map(([second, counts]): Second => [second, ...counts]);
    this.#seconds = new Map();
    return {
      at: Date.now(),
      pool: this.#chat.stats(),
      relay: cluster.stats(),
      relayState: cluster.state,
      roundTrips: roundTripsOf(this.#chat),
      others: [...cluster.nodes.values()].map(({ name, connections, draining }) => ({
        name,
        connections,
        draining,
      })),
      seconds,
    };
  }
}

function roundTripsOf(chat: Chat): RoundTrips | undefined {
  const times: number[] = [];
  for (const members of chat.connections.values())
    for (const { roundTripTime } of members.values())
      if (roundTripTime !== undefined) times.push(roundTripTime);
  if (times.length === 0) return undefined;
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { count: times.length, median: at(0.5), p99: at(0.99), max: at(1) };
}
