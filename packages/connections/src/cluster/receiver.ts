import { ConnectionsError } from '../errors.js';
import { WireError } from './bytes.js';
import { decodeHeader, decodeRecords, OTHER_VERSION, type BatchHeader } from './batch.js';
import type { ClusterCounters } from './cluster-stats.js';
import { ErrorLimit } from './error-limit.js';
import { SEQUENCE_STEP, type NodeIdentity } from './identity.js';
import type { WireRecord } from './wire.js';

/** A batch of another node that has passed all checks. */
export interface Received {
  readonly channel: string;
  readonly sender: string;
  readonly records: readonly WireRecord[];
  /** Batches of this sender on this channel may have been lost before this one. */
  readonly followsLoss: boolean;
}

/** What becomes of bytes that have come. None of this runs code of the user. */
export interface ReceiverOwner {
  /** This node is subscribed to the channel, or wants to be. */
  isWanted(channel: string): boolean;
  /** A batch of this node has come back. */
  onEcho(channel: string, sequence: number): void;
  /** Another node has our id. */
  onClone(): void;
  onBatch(batch: Received): void;
  onError(error: Error): void;
}

/** Checks what comes from the broker. Whatever that is, nothing here throws. */
export class Receiver {
  readonly #identity: NodeIdentity;
  readonly #owner: ReceiverOwner;
  readonly #counters: ClusterCounters;
  /** The last sequence from each sender on each channel. */
  readonly #marks = new Map<string, Map<string, number>>();
  readonly #errors = new ErrorLimit();

  constructor(identity: NodeIdentity, counters: ClusterCounters, owner: ReceiverOwner) {
    this.#identity = identity;
    this.#owner = owner;
    this.#counters = counters;
  }

  receive(channel: string, bytes: Buffer): void {
    let sender = '';
    try {
      const header = decodeHeader(bytes);
      if (header === OTHER_VERSION) {
        this.#counters.unknown++;
        return;
      }
      sender = header.sender;
      const origin = this.#identity.originOf(sender, channel, header.sequence);
      if (origin === 'own') this.#owner.onEcho(channel, header.sequence);
      else if (origin === 'clone') this.#owner.onClone();
      else this.#receive(channel, bytes, header);
    } catch (error) {
      this.#onFault(sender, error);
    }
  }

  /** Forgets a node. */
  forget(sender: string): void {
    this.#marks.delete(sender);
  }

  /** Forgets a channel that nobody listens to any more: what comes later starts over. */
  forgetChannel(channel: string): void {
    for (const marks of this.#marks.values()) marks.delete(channel);
  }

  #receive(channel: string, bytes: Buffer, header: BatchHeader): void {
    const { sender, sequence, starts } = header;
    const mark = this.#marks.get(sender)?.get(channel);
    if (mark !== undefined && sequence <= mark) {
      this.#counters.duplicates++;
      return;
    }
    // First: a batch that is not valid must not move the mark.
    const { records, unknown } = decodeRecords(bytes, header);
    // The sender may have forgotten the channel meanwhile, and the numbers have jumped.
    const lost = mark === undefined || starts ? 0 : Math.min(sequence - mark - 1, sequence % SEQUENCE_STEP);
    // It may have been under way when the channel was given up: nothing would remove its mark.
    if (this.#owner.isWanted(channel)) this.#setMark(sender, channel, sequence);
    this.#counters.received++;
    this.#counters.receivedBytes += bytes.length;
    this.#counters.gaps += lost;
    this.#counters.unknown += unknown;
    // The first one that is heard need not be the first one that was said.
    const followsLoss = lost > 0 || (mark === undefined && !starts);
    this.#owner.onBatch({ channel, sender, records, followsLoss });
  }

  #setMark(sender: string, channel: string, sequence: number): void {
    let marks = this.#marks.get(sender);
    if (marks === undefined) this.#marks.set(sender, (marks = new Map<string, number>()));
    marks.set(channel, sequence);
  }

  #onFault(sender: string, error: unknown): void {
    this.#counters.invalid++;
    if (!this.#errors.allows(sender)) return;
    const who = sender === '' ? 'Somebody' : `Node ${sender}`;
    const what = error instanceof WireError ? error.message : 'an unexpected fault';
    const message = `${who} sent the cluster something that is not valid: ${what}`;
    this.#owner.onError(new ConnectionsError('ERR_CLUSTER_MESSAGE', message, { cause: error }));
  }
}
