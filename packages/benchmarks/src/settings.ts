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
