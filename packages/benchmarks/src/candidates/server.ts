/** One connection, in the terms of the candidate. */
export interface Peer {
  send(text: string): unknown;
}

/** A running server, and the calls that the messages need. */
export interface Server {
  readonly port: number;
  /** Connections that are ready to be broadcast to. */
  connected(): number;
  broadcast(text: string): void;
  broadcastExcept?(text: string, ids: readonly number[]): void;
  broadcastTo?(room: string, text: string): void;
  sendTo?(id: number, text: string): void;
  /** Sends all broadcasts of a turn at once, for a candidate that can prepare them. */
  prepareTurn?(texts: readonly string[]): () => void;
}
