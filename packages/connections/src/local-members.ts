import type { Audience } from './audience.js';
import { CloseCode, type Closing } from './close-codes.js';
import type { Degradation, NodeChange, NodeInfo, Recovery } from './cluster/cluster-info.js';
import { isBinaryFrame } from './cluster/frames.js';
import type { LocalNode } from './cluster/local-node.js';
import type { Target } from './cluster/wire.js';
import { coreOf, type AnyConnection } from './connection.js';
import type { Membership } from './membership.js';
import { Envelope } from './sending/envelope.js';
import type { Frame } from './wire/frame.js';

/** The pool, as its part in a cluster sees it. None of this throws. */
export interface LocalMembersOwner {
  /** The drain that runs. */
  drain(): { readonly remaining: number; readonly maxPerSecond: number | undefined } | undefined;
  /** A message of another node was broadcast to members of this one. */
  broadcast(namespace: string, envelope: Envelope, audience: Audience<string>): void;
  onNode(node: NodeInfo, change: NodeChange): void;
  onDegraded(degradation: Degradation): void;
  onRecovered(recovery: Recovery): void;
  onError(error: Error): void;
}

/** The members of this node, for the cluster layer. */
export class LocalMembers<C extends AnyConnection> implements LocalNode {
  readonly #members: Membership<C>;
  readonly #closeTimeout: number;
  readonly #owner: LocalMembersOwner;

  constructor(members: Membership<C>, closeTimeout: number, owner: LocalMembersOwner) {
    this.#members = members;
    this.#closeTimeout = closeTimeout;
    this.#owner = owner;
  }

  get connections(): number {
    return this.#members.size;
  }

  get namespaces(): number {
    return this.#members.namespaces.size;
  }

  get draining(): LocalNode['draining'] {
    if (!this.#members.isClosed) return undefined;
    const { remaining = 0, maxPerSecond = 0 } = this.#owner.drain() ?? {};
    return { remaining, maxPerSecond };
  }

  deliver(namespace: string, target: Target, frames: readonly Frame[]): void {
    const { close } = target;
    const closed = close === undefined ? [] : this.#meant(namespace, target);
    const audience = audienceOf(target);
    for (const frame of frames) {
      this.#owner.broadcast(namespace, Envelope.received(frame, isBinaryFrame(frame)), audience);
    }
    for (const connection of closed) this.#close(connection, close as Closing);
  }

  send(
    namespace: string,
    id: string,
    frame: Frame,
    conflate: string | undefined,
    close: Closing | undefined,
  ): Promise<boolean> | undefined {
    const connection = this.#find(namespace, id);
    if (connection === undefined) return undefined;
    const message = isBinaryFrame(frame) ? frame.payload : frame.payload.toString();
    const options = conflate === undefined ? [] : [{ conflate }];
    if (close !== undefined) {
      // An overridden `send` may take its time: the close waits for it.
      const sent = coreOf(connection).callSend(message);
      this.#close(connection, close);
      return sent;
    }
    // Through its public face: a subclass may have its own idea of sending, and of failing.
    const sender = connection as unknown as Sender;
    return new Promise<unknown>((resolve) => resolve(sender.send(message, ...options))).then(isTaken);
  }

  close(namespace: string, id: string, close: Closing): boolean {
    const connection = this.#find(namespace, id);
    if (connection !== undefined) this.#close(connection, close);
    return connection !== undefined;
  }

  closeAll(namespace: string, target: Target): void {
    for (const connection of this.#meant(namespace, target)) this.#close(connection, target.close as Closing);
  }

  has(namespace: string, id: string): boolean {
    return this.#find(namespace, id) !== undefined;
  }

  count(namespace: string, rooms: readonly string[] | undefined): number {
    let open = 0;
    const members = this.#members.namespaces.get(namespace);
    const audience = audienceOf({ rooms, exceptRooms: [], exceptions: [], conflate: undefined });
    for (const { closed } of members?.membersOf(audience) ?? []) if (!closed) open++;
    return open;
  }

  replace(namespace: string, id: string): void {
    const connection = this.#find(namespace, id);
    if (connection === undefined) return;
    coreOf(connection).closeWithin(CloseCode.Replaced, 'Replaced by a newer connection', this.#closeTimeout);
  }

  onNode(node: NodeInfo, change: NodeChange): void {
    this.#owner.onNode(node, change);
  }

  onDegraded(degradation: Degradation): void {
    this.#owner.onDegraded(degradation);
  }

  onRecovered(recovery: Recovery): void {
    this.#owner.onRecovered(recovery);
  }

  onError(error: Error): void {
    this.#owner.onError(error);
  }

  /** The open connection that has the id. */
  #find(namespace: string, id: string): C | undefined {
    const connection = this.#members.find(namespace, id);
    return connection?.closed ? undefined : connection;
  }

  #meant(namespace: string, target: Target): Iterable<C> {
    return this.#members.namespaces.get(namespace)?.membersOf(audienceOf(target)) ?? [];
  }

  #close(connection: C, { code, reason }: Closing): void {
    void coreOf(connection).closeReported(code, reason);
  }
}

/** The part of a connection that sends. An override may answer anything. */
interface Sender {
  send(message: string | Buffer, options?: { readonly conflate: string }): unknown;
}

function isTaken(answer: unknown): boolean {
  return answer !== false;
}

function audienceOf({ rooms, exceptRooms, exceptions, conflate }: Omit<Target, 'close'>): Audience<string> {
  return { rooms, exceptRooms, exceptions, conflate, isLocal: true };
}
