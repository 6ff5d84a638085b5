/** What is agreed about compression between a server and its clients. */
export type Compression = 'none' | 'stateless' | 'takeover';

/** How a server is to be set up. */
export interface ServerSettings {
  readonly compression: Compression;
  /** Connections are kept by their number, for private messages and exceptions. */
  readonly isIndexed: boolean;
  /** What a client sends is broadcast to all. */
  readonly isEchoing: boolean;
}

/** One measured round: what the server sends, and what the clients therefore expect. */
export interface Load {
  /** One letter per call of a turn: `b` broadcasts, `p` sends a private message to each connection. */
  readonly pattern: string;
  readonly bytes: number;
  readonly kind: 'text' | 'json';
  /** Connections that a broadcast leaves out: another set for each message. */
  readonly exceptions: number;
  readonly turns: number;
  /** The clients acknowledge each time that this many turns have reached all of them. */
  readonly turnsPerAck: number;
  /** Turns that the server may be ahead of the clients. */
  readonly window: number;
  /** Pause before each turn, in ms; 0 for none. */
  readonly gapMs: number;
  /** Position of the first message: goes on from round to round, so that a late message is noticed. */
  readonly base: number;
}

/** Clients broadcast at the same moment, again and again. */
export interface Burst {
  readonly senders: number;
  readonly times: number;
  readonly bytes: number;
  readonly base: number;
}

/** What the server has seen of a round, from its first call to the last acknowledgement. */
export interface ServerRound {
  readonly cpuMicros: number;
  readonly wallMs: number;
}

/** What the clients have seen of it, from the first byte to the last. */
export interface ClientRound {
  readonly cpuMicros: number;
  readonly wallMs: number;
  readonly messages: number;
  readonly bytes: number;
  /** One per turn or burst: from the server's call, or the first client's, to the last receipt. */
  readonly latenciesMicros: readonly number[];
}

export interface ServerAddress {
  readonly port: number;
  /** Where acknowledgements go. */
  readonly controlPort: number;
}

export interface Memory {
  readonly heapBytes: number;
  readonly rssBytes: number;
}

/** Calls that the server process answers. */
export interface ServerCalls {
  listen(settings: ServerSettings): Promise<ServerAddress>;
  connected(): number;
  run(load: Load): Promise<ServerRound>;
  memory(): Promise<Memory>;
}

export interface ClientSettings extends ServerAddress {
  readonly connections: number;
  readonly compression: Compression;
  readonly protocol: 'websocket' | 'socket.io';
}

/** Calls that the clients process answers. */
export interface ClientCalls {
  connect(settings: ClientSettings): Promise<void>;
  /** Gets ready for a round. */
  arm(load: Load): void;
  /** Resolves when all of it has arrived and was checked. */
  finish(): Promise<ClientRound>;
  burst(burst: Burst): Promise<ClientRound>;
}
