import { ConnectionsError } from '../errors.js';
import { ALL, channelOf, channelOfNode, namespaceOf } from './channels.js';
import { Claims } from './claims.js';
import type { ClusterState, NodeInfo } from './cluster-info.js';
import { newClusterCounters, type ClusterStats } from './cluster-stats.js';
import { ErrorLimit } from './error-limit.js';
import { Heartbeats } from './heartbeats.js';
import { Inbox } from './inbox.js';
import { Incoming } from './incoming.js';
import { Falls } from './falls.js';
import { NodeIdentity } from './identity.js';
import { Link, type LinkOwner } from './link.js';
import type { ClusterNodeParts } from './node-parts.js';
import { infoOf, Nodes } from './nodes.js';
import { Outgoing } from './outgoing.js';
import { PublishQueue } from './publish-queue.js';
import { Receiver, type ReceiverOwner } from './receiver.js';
import { Relay, type RelayHooks } from './relay.js';
import { Requests } from './requests.js';
import { settledWithin } from './settled-within.js';
import { Subscriptions } from './subscriptions.js';
import { VERSION, type Presence } from './wire.js';

/** What waits for the broker when the pool leaves has this long to be published, in ms; the rest is dropped. */
const LAST_WORDS_MS = 2_500;
/** After that: longest wait for an adapter that does not settle what it should, in ms. */
const MAX_CLOSE_MS = 2_500;

/**
 * One node of a cluster: ties the parts together.
 *
 *   calls of the pool -> Outgoing -> Relay (batches of the turn) -> PublishQueue -> adapter
 *   adapter -> Receiver (checks) -> the inbox of the turn -> Incoming -> the pool
 *
 * What comes from the adapter's callbacks only notes something for the end of the turn. User code runs nowhere else.
 */
export class ClusterNode {
  readonly #parts: ClusterNodeParts;
  readonly #identity: NodeIdentity;
  readonly #counters = newClusterCounters();
  readonly #queue: PublishQueue;
  readonly #relay: Relay;
  readonly #subscriptions: Subscriptions;
  readonly #link: Link;
  readonly #heartbeats: Heartbeats;
  readonly #nodes: Nodes;
  readonly #receiver: Receiver;
  readonly #requests: Requests;
  readonly #claims: Claims | undefined;
  readonly #incoming: Incoming;
  readonly #falls: Falls;
  readonly #publishErrors = new ErrorLimit();
  /** What the pool calls to reach other nodes. */
  readonly outgoing: Outgoing;
  readonly #inbox: Inbox;
  #hasHadConnections = false;
  /** It has left, and nothing waits for the broker any more. */
  #isEnded = false;
  #left: Promise<void> | undefined;

  constructor(parts: ClusterNodeParts) {
    const { adapter, settings } = (this.#parts = parts);
    this.#identity = new NodeIdentity(parts.bootId);
    this.#inbox = new Inbox(parts.schedule, (arrival) => this.#incoming.apply(arrival));
    this.#queue = new PublishQueue(adapter, settings, this.#counters, this.#onPublishFailed);
    this.#relay = new Relay(adapter, this.#queue, this.#identity, this.#relayHooks());
    this.#subscriptions = new Subscriptions(adapter, settings.heartbeat, {
      changed: (error) => (error === undefined ? this.#link.evaluate() : this.#link.refused(error)),
      removed: (channel) => this.#receiver.forgetChannel(channel),
    });
    this.#requests = new Requests(settings.requestTimeout, parts.isExclusive);
    this.#nodes = new Nodes(settings.nodeTimeout, {
      changed: (node, change) => this.#inbox.tell(() => parts.local.onNode(node, change)),
      forgotten: (id) => {
        this.#receiver.forget(id);
        this.#requests.onGone(id);
      },
    });
    this.#receiver = new Receiver(this.#identity, this.#counters, this.#receiverOwner());
    this.#falls = new Falls(this.#counters, parts.local, (event) => this.#inbox.tell(event));
    this.#link = new Link(settings.heartbeat, this.#linkOwner());
    this.#heartbeats = this.#makeHeartbeats();
    const shared = {
      ...parts,
      identity: this.#identity,
      counters: this.#counters,
      relay: this.#relay,
      subscriptions: this.#subscriptions,
      link: this.#link,
      nodes: this.#nodes,
      requests: this.#requests,
      heartbeats: this.#heartbeats,
    };
    this.#claims = parts.isExclusive ? new Claims(shared) : undefined;
    this.#incoming = new Incoming({ ...shared, claims: this.#claims });
    this.outgoing = new Outgoing(shared);
    this.#start();
  }

  // ---------------------------------------------------------------- what the pool says

  get id(): string {
    return this.#identity.id;
  }

  get state(): ClusterState {
    return this.#inbox.isClosed ? 'alone' : this.#link.state;
  }

  /** This node, and the others. */
  get infos(): NodeInfo[] {
    const others = this.#inbox.isClosed ? [] : this.#nodes.infos;
    return [infoOf(this.id, { ...this.#presence(), isBack: false }, 0), ...others];
  }

  stats(): ClusterStats {
    return { ...this.#counters, queuedBytes: this.#queue.queuedBytes };
  }

  /**
   * A connection has joined.
   *
   * @returns resolves when its namespace is subscribed to: at once unless the link is up, and within `joinTimeout`
   */
  joined(namespace: string, id: string): Promise<void> {
    if (this.#inbox.isClosed) return Promise.resolve();
    if (!this.#hasHadConnections) {
      this.#hasHadConnections = true;
      // From now on the others wait for its answers. They know before the caller goes on.
      this.#heartbeats.beat();
    }
    const channel = channelOf(namespace);
    this.#subscriptions.want(channel);
    this.#claims?.joined(namespace, id);
    if (this.state !== 'up' || this.#subscriptions.isConfirmed(channel)) return Promise.resolve();
    return this.#subscriptions.settled(channel, this.#parts.settings.joinTimeout);
  }

  /** A connection has left, and no other has its id here. */
  gone(namespace: string, id: string): void {
    this.#claims?.left(namespace, id);
  }

  /** The last connection of a namespace has left. */
  emptied(namespace: string): void {
    this.#subscriptions.unwant(channelOf(namespace));
  }

  /** The end of the turn: carries out what has come, and publishes what was said. */
  flush(): void {
    this.#inbox.empty();
    this.#claims?.pump();
    this.outgoing.forgetCounts();
    this.#relay.flush();
  }

  /** Says goodbye, and ends what the adapter has made. The pool is on its own from the first instant. */
  leave(): Promise<void> {
    return (this.#left ??= this.#leave());
  }

  async #leave(): Promise<void> {
    this.#inbox.isClosed = true;
    this.#relay.end();
    this.#requests.end();
    // A program that only publishes may end before its link is up.
    if (!this.#queue.isEmpty) await settledWithin(this.#queue.emptied(), LAST_WORDS_MS);
    this.#isEnded = true;
    const said = this.#link.isConnected ? this.#heartbeats.bye() : Promise.resolve();
    this.#link.end();
    this.#heartbeats.stop();
    this.#subscriptions.end();
    this.#nodes.clear();
    const closed = said.then(() => this.#queue.close()).then(() => this.#parts.adapter.close());
    await settledWithin(closed, MAX_CLOSE_MS);
  }

  // ---------------------------------------------------------------- what the adapter says

  #start(): void {
    this.#subscriptions.want(ALL);
    this.#subscriptions.want(channelOfNode(this.id));
    const untilEnd = (action: () => void): void => (this.#isEnded ? undefined : action());
    this.#parts.adapter.start({
      receive: (channel, message) => untilEnd(() => this.#receiver.receive(channel, message)),
      up: () => untilEnd(() => this.#onUp()),
      down: (error) => untilEnd(() => this.#onDown(error)),
      warn: (error) => this.#report(error),
    });
    // Last: an adapter that throws must not leave a timer that holds on to this node.
    this.#heartbeats.start();
  }

  #onUp(): void {
    this.#link.connected();
    this.#subscriptions.open();
    // Not before its echo can come; if that is refused, at least what is published arrives.
    this.#subscriptions.whenSettled(ALL, () => {
      if (this.#link.isConnected) this.#heartbeats.hello();
    });
  }

  #onDown(error: Error | undefined): void {
    this.#link.disconnected(error);
    this.#subscriptions.close();
    this.#requests.end();
  }

  readonly #onPublishFailed = (channel: string, error: Error): void => {
    if (channel === ALL || !this.#link.isConnected) return;
    this.#heartbeats.probe();
    if (this.#publishErrors.allows(channel)) this.#report(error);
  };

  #relayHooks(): RelayHooks {
    return {
      schedule: () => this.#parts.schedule(),
      onError: (error) => this.#report(error),
      confirmationOf: (channel) => this.#subscriptions.confirmationOf(channel),
      onPublished: (channel, sequence, receivers, confirmation) => {
        // Published before the broker had subscribed us: it does not come back, and that is no fault of the broker.
        if (confirmation === undefined || confirmation !== this.#subscriptions.confirmationOf(channel))
          return;
        if (!this.#hearsItself(channel)) return;
        // Nobody at all, although we are subscribed: the broker has forgotten us.
        if (receivers === 0) this.#subscriptions.renew(channel);
        else this.#subscriptions.awaitEcho(channel, sequence);
      },
    };
  }

  #receiverOwner(): ReceiverOwner {
    return {
      onBatch: (batch) => {
        const seenAtMs = this.#nodes.seenAtMs(batch.sender);
        this.#nodes.heard(batch.sender, batch.channel === ALL ? batch.records : []);
        this.#inbox.add({ ...batch, seenAtMs });
      },
      onEcho: (channel, sequence) => {
        this.#counters.echoes++;
        this.#subscriptions.onEcho(channel, sequence);
        if (channel === ALL) this.#heartbeats.onEcho(sequence);
        const namespace = namespaceOf(channel);
        if (namespace === undefined || !this.#claims?.awaitsEcho(namespace)) return;
        // In its order among what others say.
        this.#inbox.later(() => this.#claims?.onEcho(namespace, sequence));
      },
      onClone: () => this.#rename(),
      onError: (error) => this.#report(error),
    };
  }

  /** Somebody else has our id: a copy of a virtual machine, say. */
  #rename(): void {
    const message = `Another node has the id ${this.id}: this one has taken a new one`;
    this.#subscriptions.unwant(channelOfNode(this.id));
    this.#identity.rename();
    this.#subscriptions.want(channelOfNode(this.id));
    this.#heartbeats.hello();
    this.#report(new ConnectionsError('ERR_NODE_ID_IN_USE', message));
  }

  // ---------------------------------------------------------------- the parts

  #linkOwner(): LinkOwner {
    const subscriptions = this.#subscriptions;
    return {
      isSubscribed: () => subscriptions.isComplete,
      isRefused: () => subscriptions.hasFailed,
      setOpen: (isOpen) => (this.#queue.isOpen = isOpen),
      resubscribe: () => this.#parts.adapter.resubscribe(),
      hearsAgain: () => {
        this.#nodes.begin();
        this.#claims?.repeat(0);
      },
      stateChanged: (state, previous, problem) => this.#falls.onState(state, previous, problem),
    };
  }

  #makeHeartbeats(): Heartbeats {
    const { adapter, settings } = this.#parts;
    const parts = { adapter, relay: this.#relay, link: this.#link, counters: this.#counters };
    return new Heartbeats(parts, settings, {
      presence: () => this.#presence(),
      tick: () => {
        this.#link.check();
        this.#identity.forget(performance.now());
        if (!this.#link.hears) return;
        this.#nodes.sweep();
        this.#subscriptions.renewSilent(2 * settings.heartbeat);
        this.#claims?.repeat(2 * settings.heartbeat);
      },
    });
  }

  #presence(): Omit<Presence, 'isBack'> {
    const { local, settings } = this.#parts;
    const { connections, namespaces, draining } = local;
    const isPublishOnly = !this.#hasHadConnections;
    const versions = { minVersion: VERSION, maxVersion: VERSION };
    return { ...versions, name: settings.nodeName, isPublishOnly, connections, namespaces, draining };
  }

  #hearsItself(channel: string): boolean {
    return this.#parts.adapter.traits.echo && this.#subscriptions.isConfirmed(channel);
  }

  #report(error: Error): void {
    this.#inbox.later(() => this.#parts.local.onError(error));
  }
}
