import type { ServerSettings } from '../load.js';

/** A server library under measurement, behind the calls that the scenarios need. */
export interface Candidate {
  /** Starts the server on 127.0.0.1. @returns its port */
  listen(settings: ServerSettings): Promise<number>;
  /** Connections that are ready to be broadcast to. */
  connected(): number;
  broadcast(text: string): void;
  broadcastExcept?(text: string, ids: readonly number[]): void;
  sendTo?(id: number, text: string): void;
  /** For a candidate that knows when a turn ends. */
  endTurn?(): void;
}

/** The number that a client has put in its request. */
export function idOf(url: string | undefined): number {
  return Number(/[?&]id=(\d+)/.exec(url ?? '')?.[1]);
}
