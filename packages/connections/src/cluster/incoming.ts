import { toError } from '../errors.js';
import { ALL, channelOfNode, namespaceOf } from './channels.js';
import type { Claims } from './claims.js';
import type { Heartbeats } from './heartbeats.js';
import type { NodeIdentity } from './identity.js';
import type { ClusterCounters } from './cluster-stats.js';
import type { LocalNode } from './local-node.js';
import type { Nodes } from './nodes.js';
import type { Received } from './receiver.js';
import { Answer, type Requests } from './requests.js';
import type { Relay } from './relay.js';
import { encodeRecord, type Ask, type WireRecord } from './wire.js';

/** What the records that have come act on. */
export interface IncomingOwner {
  readonly identity: NodeIdentity;
  readonly local: LocalNode;
  readonly nodes: Nodes;
  readonly requests: Requests;
  /** `undefined` if several connections may have one id. */
  readonly claims: Claims | undefined;
  readonly relay: Relay;
  readonly counters: ClusterCounters;
  readonly heartbeats: Heartbeats;
}

/** A batch, and when its sender had been heard before, by the clock of the host. */
export interface Arrival extends Received {
  readonly seenAtMs: number | undefined;
}

/** Carries out what other nodes say, at the end of the turn. */
export class Incoming {
  readonly #owner: IncomingOwner;

  constructor(owner: IncomingOwner) {
    this.#owner = owner;
  }

  apply(arrival: Arrival): void {
    const { channel, followsLoss, records } = arrival;
    const namespace = namespaceOf(channel);
    if (followsLoss && namespace !== undefined) this.#owner.claims?.onLoss(namespace);
    for (const record of records) {
      try {
        const isPlaced =
          namespace === undefined
            ? this.#applyToAll(record, arrival)
            : this.#apply(record, namespace, arrival);
        if (!isPlaced) this.#owner.counters.invalid++;
      } catch (error) {
        this.#owner.local.onError(toError(error));
      }
    }
  }

  /** What concerns a namespace. @returns `false` if the record does not */
  #apply(record: WireRecord, namespace: string, { sender }: Arrival): boolean {
    const { local, claims } = this.#owner;
    switch (record.kind) {
      case 'frames':
        local.deliver(namespace, record.target, record.frames);
        return true;
      case 'send': {
        const { id, frame, conflate, close, ask } = record;
        this.#answerSend(sender, ask, local.send(namespace, id, frame, conflate, close));
        return true;
      }
      case 'close':
        this.#answer(
          sender,
          record.ask,
          local.close(namespace, record.id, record.close) ? Answer.Done : Answer.None,
        );
        return true;
      case 'closeAll':
        local.closeAll(namespace, record.target);
        this.#answer(sender, record.ask, Answer.Done);
        return true;
      case 'has':
        this.#answer(sender, record.ask, local.has(namespace, record.id) ? Answer.Done : Answer.None);
        return true;
      case 'claim':
        claims?.onClaim(namespace, sender, record);
        return true;
      default:
        return false;
    }
  }

  /** What concerns the nodes. @returns `false` if the record does not */
  #applyToAll(record: WireRecord, { channel, sender, seenAtMs }: Arrival): boolean {
    const { local, nodes, identity, requests, claims } = this.#owner;
    if (channel !== ALL) {
      if (channel !== channelOfNode(identity.id) || record.kind !== 'answer') return false;
      requests.onAnswer(sender, record.request, record.value);
      return true;
    }
    switch (record.kind) {
      case 'hello':
        // It wants to know who is here.
        this.#owner.heartbeats.beatSoon();
        if (record.presence.isBack) claims?.onReturn(seenAtMs ?? 0);
        return true;
      case 'beat':
        // `Nodes` has noted it when it came.
        return true;
      case 'bye':
        nodes.onBye(sender);
        return true;
      case 'count':
        this.#sayTo(sender, record.ask.request, local.count(record.namespace, record.rooms));
        return true;
      default:
        return false;
    }
  }

  #answerSend(sender: string, ask: Ask, sent: Promise<boolean> | undefined): void {
    if (sent === undefined) {
      this.#answer(sender, ask, Answer.None);
      return;
    }
    sent.then(
      (isSent) => this.#answer(sender, ask, isSent ? Answer.Done : Answer.Refused),
      (error: unknown) => {
        this.#owner.local.onError(toError(error));
        this.#answer(sender, ask, Answer.Refused);
      },
    );
  }

  /** Nodes that have nothing to say are silent, unless the sender counts answers. */
  #answer(sender: string, { request, all }: Ask, value: number): void {
    if (request === 0 || (value === Answer.None && !all)) return;
    this.#sayTo(sender, request, value);
  }

  #sayTo(node: string, request: number, value: number): void {
    const head = encodeRecord({ kind: 'answer', request, value });
    this.#owner.relay.add(channelOfNode(node), { head, isUrgent: true });
  }
}
