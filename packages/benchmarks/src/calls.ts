import type { KindName } from './kinds.js';
import type { RoomPlanName } from './rooms.js';

/** What is agreed about compression between a server and its clients. */
export type Compression = 'none' | 'stateless' | 'takeover';

/** What a server does with the messages of its clients. */
export type Reaction = 'broadcast' | 'echo' | 'count';

export interface ServerSettings {
  /** The module from which its library is imported. */
  readonly module: string;
  readonly compression: Compression;
  /** Connections are stored by number, for private messages and exceptions. */
  readonly isIndexed: boolean;
  readonly reaction: Reaction | undefined;
  /** Rooms that each connection joins. */
  readonly rooms: RoomPlanName | undefined;
}

export interface ClientSettings {
  readonly port: number;
  /** A port of the server process: for acknowledgements, and to tell clients that they may begin a turn. */
  readonly controlPort: number;
  readonly connections: number;
  readonly compression: Compression;
  /** The clients speak the protocol of Socket.IO. */
  readonly isSocketIo: boolean;
}

/** One round: what is sent, and so what the clients expect. */
export interface Load {
  /** The messages of one turn. */
  readonly turn: readonly KindName[];
  readonly bytes: number;
  readonly body: 'text' | 'json';
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
