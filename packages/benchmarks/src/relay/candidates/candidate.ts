import type { NodeSettings, Transport } from '../calls.js';
import type { Payload } from '../payloads.js';

/** The member that gets messages, and the one that broadcasts with an exception leave out. */
export const TAKER = 'taker';
export const EXCEPTED = 'excepted';

/** What a node broadcasts to, in whatever words the candidate has for it. */
export const AUDIENCE = 'bench';

/** A way to broadcast to the members of all nodes. */
export interface RelayCandidate {
  /** What is imported for each transport that it has: their packages are those whose versions count. */
  readonly modules: Readonly<Partial<Record<Transport, readonly string[]>>>;
  /** It has no broadcast that leaves somebody out. */
  readonly hasNoExceptions?: boolean;
  join(settings: NodeSettings): Promise<RelayNode>;
}

export interface RelayNode {
  /** Adds a member that is not connected to anybody. */
  addMember(id: string, member: Member): Promise<void>;
  broadcast(message: Payload, exception?: string): void;
  /** Starts a server whose clients become members. @returns its port */
  listen?(): Promise<number>;
  /** Members of this node. */
  connected?(): number;
}

/** What a member takes, in one of the two ways. What sockets cost is measured elsewhere. */
export interface Member {
  /** One message. */
  take(message: string | Uint8Array): void;
  /** Frames as they are written to a socket: one or more whole ones. */
  takeFrames(bytes: Buffer): void;
}
