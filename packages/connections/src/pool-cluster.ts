import type { Audience } from './audience.js';
import { CloseCode } from './close-codes.js';
import { Cluster } from './cluster/cluster.js';
import { ALONE, type Company } from './cluster/drainers.js';
import type { Degradation, NodeChange, NodeInfo, Recovery } from './cluster/cluster-info.js';
import { ClusterNode } from './cluster/cluster-node.js';
import { isBinaryFrame } from './cluster/frames.js';
import type { LocalNode } from './cluster/local-node.js';
import type { Closing, Target } from './cluster/wire.js';
import { coreOf, type AnyConnection } from './connection.js';
import { expected } from './errors.js';
import type { Membership } from './membership.js';
import type { PoolSettings } from './options.js';
import type { EndOfTurn } from './sending/end-of-turn.js';
import { Envelope } from './sending/envelope.js';
import { assertWebSocketMessage, isBlob, type ImmediateMessage } from './wire/message.js';
import { encodeFrame, type Frame } from './wire/frame.js';

/** The pool, as its part in a cluster sees it. None of this throws. */
export interface PoolClusterOwner {
  /** The drain that runs. */
  drain(): { readonly remaining: number; readonly maxPerSecond: number | undefined } | undefined;
  /** A message of another node was broadcast to members of this one. */
  broadcast(namespace: string, envelope: Envelope, audience: Audience<string>): void;
  onNode(node: NodeInfo, change: NodeChange): void;
  onDegraded(degradation: Degradation): void;
  onRecovered(recovery: Recovery): void;
  onError(error: Error): void;
}

/** The part of a pool in its cluster: what other nodes ask for is done to the members, and what is called is passed on. */
export class PoolCluster<C extends AnyConnection> {
  readonly cluster: Cluster;
  readonly #node: ClusterNode | undefined;
  readonly #members: Membership<C>;

  constructor(
    settings: PoolSettings<C>,
    members: Membership<C>,
    endOfTurn: EndOfTurn,
    owner: PoolClusterOwner,
  ) {
    const { adapter, cluster, onDuplicate, closeTimeout } = settings;
    this.#members = members;
    const local = new Local(members, closeTimeout, owner);
    if (adapter !== undefined) {
      const flushable = { flush: () => node.flush() };
      const schedule = (): void => endOfTurn.addFirst(flushable);
      const isExclusive = onDuplicate === 'replace';
      const node = new ClusterNode({ adapter, settings: cluster, local, isExclusive, schedule });
      this.#node = node;
    }
    this.cluster = new Cluster(this.#node, local, cluster.nodeName);
  }

  /** Whether there may be other nodes to reach. */
  get isOn(): boolean {
    return this.#node !== undefined && this.#node.state !== 'alone';
  }

  /** @throws {TypeError} the pool has an adapter, and the id is not a string */
  assertId(id: unknown): void {
    if (this.#node === undefined || typeof id === 'string') return;
    throw new TypeError(expected('id to be a string, as the pool has an adapter', id));
  }

  /** @throws {TypeError} the pool has an adapter, and the message is a `Blob` */
  assertMessage(message: unknown): void {
    if (this.#node === undefined || !isBlob(message)) return;
    throw new TypeError(expected('a message that is no Blob, as the pool has an adapter', message));
  }

  /** @returns resolves when its namespace is subscribed to, or that takes too long */
  joined(connection: C): Promise<void> {
    const { namespace, id } = connection;
    // User code may have removed it already.
    if (this.#node === undefined || this.#members.find(namespace, id) !== connection)
      return Promise.resolve();
    return this.#node.joined(namespace, id as string);
  }

  left({ namespace, id }: C): void {
    if (this.#members.find(namespace, id) === undefined) this.#node?.gone(namespace, id as string);
  }

  /** A drain begins or ends. */
  announceDrain(): void {
    this.#node?.outgoing.announceDrain();
  }

  companyAt(nowMs: number): Company {
    return this.#node?.outgoing.companyAt(nowMs) ?? ALONE;
  }

  emptied(namespace: string): void {
    this.#node?.emptied(namespace);
  }

  /** To other nodes, unless the audience is local. */
  broadcast(namespace: string, audience: Audience<C['id']>, frame: Frame | undefined): void {
    if (!this.isOn || audience.isLocal || frame === undefined) return;
    this.#node?.outgoing.broadcast(namespace, targetOf(audience), frame);
  }

  /**
   * To other nodes with the close that follows, unless the audience is local.
   *
   * @returns the part of the audience that is left: this node's
   */
  broadcastFatal(
    namespace: string,
    audience: Audience<C['id']>,
    message: unknown,
    close: Closing,
  ): Audience<C['id']> {
    if (!this.isOn || audience.isLocal) return audience;
    assertWebSocketMessage(message);
    this.assertMessage(message);
    const frame = encodeFrame(message as ImmediateMessage);
    this.#node?.outgoing.broadcast(namespace, targetOf(audience, close), frame);
    return { ...audience, isLocal: true };
  }

  /** Sends to a connection of another node. @returns whether its node says that it was handed over */
  async send(
    namespace: string,
    id: C['id'],
    message: ImmediateMessage,
    conflate: string | undefined,
    close: Closing | undefined,
  ): Promise<boolean> {
    if (!this.isOn) return false;
    this.assertId(id);
    return this.#node?.outgoing.send(namespace, id as string, encodeFrame(message), conflate, close) ?? false;
  }

  async close(namespace: string, id: C['id'], close: Closing): Promise<void> {
    if (!this.isOn) return;
    this.assertId(id);
    await this.#node?.outgoing.close(namespace, id as string, close);
  }

  async closeAll(namespace: string, audience: Audience<C['id']>, close: Closing): Promise<void> {
    if (!this.isOn || audience.isLocal) return;
    await this.#node?.outgoing.closeAll(namespace, targetOf(audience, close));
  }
}

function targetOf({ rooms, exceptRooms, exceptions, conflate }: Audience<unknown>, close?: Closing): Target {
  // No connection of a cluster has an id of another type.
  const ids = exceptions.filter((id) => typeof id === 'string');
  return { rooms, exceptRooms, exceptions: ids, conflate, close };
}

/** The members of this node, for the cluster layer. */
class Local<C extends AnyConnection> implements LocalNode {
  readonly #members: Membership<C>;
  readonly #closeTimeout: number;
  readonly #owner: PoolClusterOwner;

  constructor(members: Membership<C>, closeTimeout: number, owner: PoolClusterOwner) {
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
    return new Promise<boolean>((resolve) => resolve(sender.send(message, ...options)));
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

/** The part of a connection that sends. */
interface Sender {
  send(message: string | Buffer, options?: { readonly conflate: string }): Promise<boolean>;
}

function audienceOf({ rooms, exceptRooms, exceptions, conflate }: Omit<Target, 'close'>): Audience<string> {
  return { rooms, exceptRooms, exceptions, conflate, isLocal: true };
}
