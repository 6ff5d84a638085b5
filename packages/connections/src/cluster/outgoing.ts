import type { Closing } from '../close-codes.js';
import type { Frame } from '../wire/frame.js';
import { ALL, channelOf } from './channels.js';
import type { ClusterAdapter } from './adapter.js';
import type { ClusterCount, NodeInfo } from './cluster-info.js';
import type { Company } from './drainers.js';
import type { Heartbeats } from './heartbeats.js';
import type { NodeIdentity } from './identity.js';
import type { Link } from './link.js';
import type { LocalNode } from './local-node.js';
import type { Nodes } from './nodes.js';
import type { Relay } from './relay.js';
import type { Requests } from './requests.js';
import type { Subscriptions } from './subscriptions.js';
import { encodeFramesTo, encodeRecord, type Ask, type Target, type WireRecord } from './wire.js';

/** What the calls of this node act on. */
export interface OutgoingOwner {
  readonly identity: NodeIdentity;
  readonly heartbeats: Heartbeats;
  readonly relay: Relay;
  readonly requests: Requests;
  readonly nodes: Nodes;
  readonly adapter: ClusterAdapter;
  readonly link: Link;
  readonly subscriptions: Subscriptions;
  readonly local: LocalNode;
}

const NOT_ASKED: Ask = { request: 0, all: false };

/** Says to other nodes what was called on this one. */
export class Outgoing {
  readonly #owner: OutgoingOwner;
  /** Counts of this turn, by what they count. */
  readonly #counts = new Map<string, Promise<ClusterCount>>();

  constructor(owner: OutgoingOwner) {
    this.#owner = owner;
  }

  broadcast(namespace: string, target: Target, frame: Frame): void {
    const channel = channelOf(namespace);
    if (isEverybody(target)) this.#owner.relay.addFrame(channel, frame);
    else this.#owner.relay.add(channel, { head: encodeFramesTo(target), frame, isUrgent: false });
  }

  send(
    namespace: string,
    id: string,
    frame: Frame,
    conflate: string | undefined,
    close: Closing | undefined,
  ): Promise<boolean> {
    if (!this.#canAsk) return Promise.resolve(false);
    return this.#find(namespace, (ask) => ({ kind: 'send', ask, id, frame, conflate, close }));
  }

  has(namespace: string, id: string): Promise<boolean> {
    if (!this.#canAsk) return Promise.resolve(false);
    return this.#find(namespace, (ask) => ({ kind: 'has', ask, id }));
  }

  async close(namespace: string, id: string, close: Closing): Promise<void> {
    if (this.#canAsk) await this.#find(namespace, (ask) => ({ kind: 'close', ask, id, close }));
    else this.#say(namespace, { kind: 'close', ask: NOT_ASKED, id, close });
  }

  async closeAll(namespace: string, target: Target): Promise<void> {
    if (!this.#canAsk) {
      this.#say(namespace, { kind: 'closeAll', ask: NOT_ASKED, target });
      return;
    }
    await this.#owner.requests.tell((request) => {
      this.#ask(channelOf(namespace), request, { kind: 'closeAll', ask: this.#askOf(request), target });
    });
  }

  /** The pool begins or ends to drain: the others are to know it now, not with the next heartbeat. */
  announceDrain(): void {
    this.#owner.heartbeats.beat();
  }

  /** The others, as a drain of this node sees them. */
  companyAt(nowMs: number): Company {
    const { identity, link, nodes } = this.#owner;
    const isPossible = link.isConnected && nodes.mayHold;
    const { settlesInMs } = nodes;
    return { id: identity.id, isPossible, settlesInMs, drainers: nodes.drainers.at(nowMs) };
  }

  count(namespace: string, rooms: readonly string[] | undefined): Promise<ClusterCount> {
    const { holders } = this.#owner.nodes;
    if (this.#isUp && holders.length > 0) return this.#countWith(holders, namespace, rooms);
    const missing = holders.map(({ id, name }) => ({ id, name, reason: 'timeout' as const }));
    return Promise.resolve({ total: this.#owner.local.count(namespace, rooms), answered: 1, missing });
  }

  /** The turn ends, and with it go the requests. */
  forgetCounts(): void {
    this.#counts.clear();
  }

  /** Calls of one turn that count the same share one request. */
  #countWith(
    holders: readonly NodeInfo[],
    namespace: string,
    rooms: readonly string[] | undefined,
  ): Promise<ClusterCount> {
    const key = JSON.stringify([namespace, rooms]);
    let count = this.#counts.get(key);
    if (count === undefined) {
      const { local, requests } = this.#owner;
      count = requests.count(local.count(namespace, rooms), holders, (request) => {
        this.#ask(ALL, request, { kind: 'count', ask: this.#askOf(request), namespace, rooms });
      });
      this.#counts.set(key, count);
    }
    return count;
  }

  /** The link is up, and somebody may answer. A broker that counts receivers knows better who listens than this node. */
  get #canAsk(): boolean {
    const { adapter, nodes } = this.#owner;
    return this.#isUp && (adapter.traits.countsReceivers || nodes.mayHold);
  }

  get #isUp(): boolean {
    return this.#owner.link.state === 'up';
  }

  #find(namespace: string, record: (ask: Ask) => RequestRecord): Promise<boolean> {
    return this.#owner.requests.find((request) => {
      this.#ask(channelOf(namespace), request, record(this.#askOf(request)));
    });
  }

  #askOf(request: number): Ask {
    return { request, all: this.#owner.adapter.traits.countsReceivers };
  }

  #ask(channel: string, request: number, record: RequestRecord): void {
    const { adapter, relay, requests, subscriptions } = this.#owner;
    // As it is now: a subscription that comes later may only make the others seem more than they are.
    const own = adapter.traits.echo && subscriptions.isConfirmed(channel) ? 1 : 0;
    relay.add(channel, {
      head: encodeRecord(record),
      isUrgent: true,
      onPublished: (receivers) => {
        if (receivers !== undefined) requests.onReceivers(request, receivers - own);
      },
      onDropped: () => requests.onDropped(request),
    });
  }

  /** Nobody can answer now: it is said all the same, and waits for the broker like a broadcast. */
  #say(namespace: string, record: RequestRecord): void {
    this.#owner.relay.add(channelOf(namespace), { head: encodeRecord(record), isUrgent: false });
  }
}

type RequestRecord = Exclude<WireRecord, { kind: 'frames' }>;

function isEverybody({ rooms, exceptRooms, exceptions, conflate, close }: Target): boolean {
  const isWhole = rooms === undefined && exceptRooms.length === 0 && exceptions.length === 0;
  return isWhole && conflate === undefined && close === undefined;
}
