import { wheel } from '../liveness/timing-wheel.js';
import type { ClusterAdapter } from './adapter.js';
import { channelOf } from './channels.js';
import type { NodeIdentity } from './identity.js';
import type { LocalNode } from './local-node.js';
import type { Relay } from './relay.js';
import { encodeRecord } from './wire.js';

/** Claims that are made again in one turn of the event loop. */
const CLAIMS_PER_TURN = 1_000;

/** A connection of this node that wants to be the only one with its id. */
interface Claim {
  readonly namespace: string;
  readonly id: string;
  /** By the clock of the host. */
  readonly joinedAtMs: number;
  /** When it was last published, on the wheel. */
  claimedAtMs: number;
  /** The batch that it is in. */
  sequence: number;
  /** It has come back: whatever comes on the channel from now on is later. */
  isConfirmed: boolean;
  /** The broker has taken it. */
  isPublished: boolean;
  /** It was made again after that, so that nodes which did not listen yet hear it. */
  isRepeated: boolean;
}

export interface ForeignClaim {
  readonly id: string;
  readonly joinedAtMs: number;
  readonly isLate: boolean;
}

/** What the claims use. */
export interface ClaimsOwner {
  readonly identity: NodeIdentity;
  readonly adapter: ClusterAdapter;
  readonly relay: Relay;
  readonly local: LocalNode;
  /** Schedules a call of `pump` at the end of the turn. */
  schedule(): void;
}

/**
 * One connection for each id in the whole cluster: the newest.
 *
 * Each connection that joins is claimed on the channel of its namespace. Where the broker keeps one order for all, the
 * last claim wins: a node that has seen its own claim come back gives way to every claim that follows. Claims that are
 * late (made again because one may have been lost), and all claims where there is no such order, are decided by the
 * time of joining. A node that loses such a comparison gives way; one that wins says so, so that the other hears it.
 *
 * Where there is no order, an echo does not tell that the other nodes listened already: two that join a namespace as its
 * first members may both claim before the other one has subscribed. So each claim is made twice there, the second time
 * two heartbeats later.
 *
 * The limits of the comparison: it believes the clocks of the hosts, so a connection on a host that is behind loses to one
 * that joined up to that much earlier. In the same millisecond the node with the higher id wins. In any case one stays.
 */
export class Claims {
  readonly #owner: ClaimsOwner;
  readonly #claims = new Map<string, Map<string, Claim>>();
  /** By namespace: an echo concerns one. */
  readonly #unconfirmed = new Map<string, Set<Claim>>();
  /** To be made again. */
  readonly #late = new Set<Claim>();

  constructor(owner: ClaimsOwner) {
    this.#owner = owner;
  }

  joined(namespace: string, id: string): void {
    this.left(namespace, id);
    const claim: Claim = {
      namespace,
      id,
      joinedAtMs: Date.now(),
      claimedAtMs: 0,
      sequence: -1,
      isConfirmed: false,
      isPublished: false,
      isRepeated: false,
    };
    let claims = this.#claims.get(namespace);
    if (claims === undefined) this.#claims.set(namespace, (claims = new Map<string, Claim>()));
    claims.set(id, claim);
    let unconfirmed = this.#unconfirmed.get(namespace);
    if (unconfirmed === undefined) this.#unconfirmed.set(namespace, (unconfirmed = new Set()));
    unconfirmed.add(claim);
    this.#publish(claim, false);
  }

  left(namespace: string, id: string): void {
    const claims = this.#claims.get(namespace);
    const claim = claims?.get(id);
    if (claims === undefined || claim === undefined) return;
    claims.delete(id);
    if (claims.size === 0) this.#claims.delete(namespace);
    this.#confirm(claim);
    this.#late.delete(claim);
  }

  /** Some claim in the namespace waits for its echo. */
  awaitsEcho(namespace: string): boolean {
    return this.#isOrdered && this.#unconfirmed.has(namespace);
  }

  /** A batch of this node has come back. */
  onEcho(namespace: string, sequence: number): void {
    for (const claim of this.#unconfirmed.get(namespace) ?? []) {
      if (claim.sequence !== sequence) continue;
      claim.isConfirmed = true;
      this.#confirm(claim);
    }
  }

  onClaim(namespace: string, sender: string, foreign: ForeignClaim): void {
    const own = this.#claims.get(namespace)?.get(foreign.id);
    if (own === undefined) return;
    if (this.#isOrdered && !foreign.isLate) {
      // Otherwise ours comes later on the channel, and the other node gives way.
      if (own.isConfirmed) this.#giveWay(own);
      return;
    }
    const { joinedAtMs } = foreign;
    const isNewer =
      joinedAtMs > own.joinedAtMs || (joinedAtMs === own.joinedAtMs && sender > this.#owner.identity.id);
    if (isNewer) this.#giveWay(own);
    else this.#again(own);
  }

  /** Batches of another node on the channel were lost: there may have been claims in them. */
  onLoss(namespace: string): void {
    for (const claim of this.#claims.get(namespace)?.values() ?? []) this.#again(claim);
  }

  /** Another node is back: it may have missed what has joined since then. */
  onReturn(sinceMs: number): void {
    for (const claims of this.#claims.values()) {
      for (const claim of claims.values()) if (claim.joinedAtMs >= sinceMs) this.#again(claim);
    }
  }

  /** This node hears the others again, or some time has passed: claims that have not come back are made again. */
  repeat(afterMs: number): void {
    const untilMs = wheel.nowMs - afterMs;
    for (const claims of this.#unconfirmed.values()) {
      for (const claim of claims) {
        if (claim.claimedAtMs > untilMs) continue;
        claim.isRepeated = claim.isPublished && afterMs > 0;
        this.#again(claim);
      }
    }
  }

  /** Publishes claims that are to be made again, some in each turn. */
  pump(): void {
    let published = 0;
    for (const claim of this.#late) {
      if (published++ >= CLAIMS_PER_TURN) {
        this.#owner.schedule();
        return;
      }
      this.#late.delete(claim);
      this.#publish(claim, true);
    }
  }

  /** All nodes see the claims of a namespace in the same order, each its own ones too. */
  get #isOrdered(): boolean {
    const { totalOrder, echo } = this.#owner.adapter.traits;
    return totalOrder && echo;
  }

  #confirm(claim: Claim): void {
    const unconfirmed = this.#unconfirmed.get(claim.namespace);
    if (unconfirmed?.delete(claim) && unconfirmed.size === 0) this.#unconfirmed.delete(claim.namespace);
  }

  #again(claim: Claim): void {
    this.#late.add(claim);
    this.#owner.schedule();
  }

  #publish(claim: Claim, isLate: boolean): void {
    const { namespace, id, joinedAtMs } = claim;
    claim.claimedAtMs = wheel.nowMs;
    const onSequence = (sequence: number): void => {
      claim.sequence = sequence;
    };
    const onPublished = (): void => {
      claim.isPublished = true;
      if (!this.#isOrdered && claim.isRepeated) this.#confirm(claim);
    };
    const head = encodeRecord({ kind: 'claim', id, joinedAtMs, isLate });
    this.#owner.relay.add(channelOf(namespace), { head, isUrgent: true, onSequence, onPublished });
  }

  #giveWay({ namespace, id }: Claim): void {
    this.left(namespace, id);
    this.#owner.local.replace(namespace, id);
  }
}
