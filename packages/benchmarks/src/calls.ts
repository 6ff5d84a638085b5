import type { KindName } from './kinds.js';
import type { Content } from './messages.js';

/** One round: what is sent, and so what the clients expect. */
export interface Load extends Content {
  /** The messages of one turn. */
  readonly turn: readonly KindName[];
  readonly turns: number;
  /** The clients acknowledge each time that this many turns have reached all of them. */
  readonly turnsPerAck: number;
  /** Turns that the server may be ahead of the clients. */
  readonly window: number;
  /** Pause before each turn, in ms. With a pause, each turn is timed. */
  readonly gapMs: number;
  /** Position of the first message. Positions continue from round to round, so that a late message is noticed. */
  readonly base: number;
}

/** A round as one side has seen it: the server up to the last acknowledgement, the clients from the first byte to the last. */
export interface Seen {
  readonly cpuMicros: number;
  readonly wallMs: number;
  /** When this side began each turn, if it is timed. */
  readonly begunAtMs: readonly number[];
}
