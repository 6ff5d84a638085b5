import type { NodeSettings, Transport } from '../calls.js';
import type { Payload } from '../payloads.js';

/** The member that gets messages, and the one that a broadcast with an exception leaves out. */
export const TAKER = 'taker';
export const EXCEPTED = 'excepted';

/** The group that a node broadcasts to, whatever the candidate calls it. */
export const AUDIENCE = 'bench';

/** A way to broadcast to the members of all nodes. */
export interface RelayCandidate {
  /** The modules that are imported for each transport: the versions of their packages are reported. */
  readonly modules: Readonly<Partial<Record<Transport, readonly string[]>>>;
  /** It has no broadcast with an exception. */
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

/** What a member receives, in one of two forms. The cost of sockets is measured elsewhere. */
export interface Member {
  /** One message. */
  take(message: string | Uint8Array): void;
  /** Frames as they are written to a socket: one or more complete ones. */
  takeFrames(bytes: Buffer): void;
}
