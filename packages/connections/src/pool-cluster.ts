import { toArgument, type Audience, type AudienceArgument } from './audience.js';
import type { Closing } from './close-codes.js';
import { Cluster } from './cluster/cluster.js';
import { ClusterNode } from './cluster/cluster-node.js';
import { ALONE, type Company } from './cluster/drainers.js';
import type { Target } from './cluster/wire.js';
import type { AnyConnection } from './connection.js';
import { expected } from './errors.js';
import { LocalMembers, type LocalMembersOwner } from './local-members.js';
import type { Membership } from './membership.js';
import type { PoolSettings } from './options.js';
import type { EndOfTurn } from './sending/end-of-turn.js';
import { isBlob, type ImmediateMessage } from './wire/message.js';
import { encodeFrame, type Frame } from './wire/frame.js';

/** The part of a pool in its cluster: what other nodes ask for is done to the members, and what is called is passed on. */
export class PoolCluster<C extends AnyConnection> {
  readonly cluster: Cluster;
  readonly #node: ClusterNode | undefined;
  readonly #members: Membership<C>;
  /** Closes that are to follow a broadcast, by its audience. */
  readonly #fatal = new WeakMap<object, { readonly namespace: string; readonly close: Closing }>();

  constructor(
    settings: PoolSettings<C>,
    members: Membership<C>,
    endOfTurn: EndOfTurn,
    owner: LocalMembersOwner,
  ) {
    const { adapter, cluster, onDuplicate, closeTimeout } = settings;
    this.#members = members;
    const local = new LocalMembers(members, closeTimeout, owner);
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
    throw new TypeError(expected('a message other than a Blob, as the pool has an adapter', message));
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

  /** To other nodes, unless the audience is local. @param argument the audience as it was passed to `broadcastMessage` */
  broadcast(
    namespace: string,
    audience: Audience<C['id']>,
    frame: Frame | undefined,
    argument: AudienceArgument<C['id']> | undefined,
  ): void {
    if (!this.isOn || audience.isLocal || frame === undefined) return;
    const target = targetOf(audience, this.#takeClose(namespace, argument));
    this.#node?.outgoing.broadcast(namespace, target, frame);
  }

  #takeClose(namespace: string, argument: object | undefined): Closing | undefined {
    const fatal = argument && this.#fatal.get(argument);
    if (fatal?.namespace !== namespace) return undefined;
    this.#fatal.delete(argument as object);
    return fatal.close;
  }

  /**
   * Broadcasts a message, and has its recipients on other nodes closed after it. The close goes in one record with the
   * message if `broadcast` passes on the audience that it is given, as an overridden `broadcastMessage` should.
   */
  broadcastFatal<Result>(
    namespace: string,
    audience: Audience<C['id']>,
    close: Closing,
    broadcast: (audience: AudienceArgument<C['id']>) => Result,
  ): Result {
    const argument = toArgument(audience);
    this.#fatal.set(argument, { namespace, close });
    const result = broadcast(argument);
    // Not passed on: to be closed all the same, like the recipients here.
    if (this.#fatal.delete(argument)) void this.closeAll(namespace, audience, close);
    return result;
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
