/**
 * The connection of one node to the broker of its cluster: a pipe for bytes with named channels, and nothing else.
 *
 * Batches, sequence numbers, heartbeats, requests, the queue and healing are in the cluster layer, once, for all
 * adapters. An adapter translates five methods into the client library of a broker, and can be read in one sitting.
 *
 * **Channels.** Names are well-formed strings of any length. A client may choose a part of the name, so it can hold
 * any character: spaces, `*`, `.`, `{}`, NUL.
 *
 * - MUST map distinct channels to distinct names on the broker. Escape what the broker treats specially, and hash what
 *   is too long for it.
 * - MUST hand over the bytes of one `publish` as exactly one `receive`, and messages of one publisher on one channel
 *   in the order in which they were published. It MUST NOT read or change them.
 * - MAY hand over this node's own messages (`traits.echo`). If it does, it MUST hand over all of them.
 * - MUST hand over nothing on channels that are not subscribed to, apart from messages that were under way when they
 *   were unsubscribed from.
 *
 * **Faults of the broker** are rejections of `subscribe`, `unsubscribe`, `publish` and `ping`, or calls of `down`.
 *
 * - MUST NOT throw from any method, apart from a second `start`.
 * - MUST NOT end the process: everything it makes has its `error` listener before it connects.
 * - MUST NOT let anything escape into a callback of the client library, where it could end a read loop.
 * - MUST carry out `subscribe` and `unsubscribe` in the order of their calls.
 * - MUST NOT queue, repeat or hold anything while the broker is away. The cluster layer does that, with bounds.
 *
 * **Connections that it was given** belong to the user. It MUST NOT do more with them than commands and listeners, and
 * MUST remove those listeners in `close`.
 */
export interface ClusterAdapter {
  /** What the broker can do. Read at each use, as a broker may tell its limits only when it is connected. */
  readonly traits: ClusterTraits;

  /**
   * Begins to connect. Called once, before everything else.
   *
   * @throws {Error} it was started before: one adapter serves one pool
   */
  start(link: ClusterLink): void;

  /**
   * Resolves when the broker has confirmed all these channels; until then no message on them may have been missed
   * silently. At most 512 channels come in one call.
   *
   * - MUST be idempotent: channels that are subscribed to already are no error and cause no second delivery.
   * - MUST reject when the connection drops before the broker has confirmed, and when the broker refuses one of the
   *   channels. The cluster layer then tries again, with all of them.
   */
  subscribe(channels: readonly string[]): Promise<void>;

  /** Resolves when no more messages come on these channels. MUST be idempotent. */
  unsubscribe(channels: readonly string[]): Promise<void>;

  /**
   * Publishes one message, at most `traits.maxMessageBytes` long. Its bytes do not change afterwards.
   *
   * - MUST reject at once while the broker is away.
   * - MUST settle within 5 s, with a timer of its own where the client library has none.
   * - MUST NOT resolve before the client library has taken responsibility for the bytes. Bytes whose promise has not
   *   settled count against `maxQueuedBytes`: a broker or a socket that is slow must delay it.
   *
   * @returns how many nodes have received it, this one included; `undefined` unless `traits.countsReceivers`
   */
  publish(channel: string, message: Buffer): Promise<number | undefined>;

  /**
   * Drops the connection that receives and makes a new one: messages have stopped coming although the old one looks
   * healthy. MUST call `link.up` when the new one is ready; MAY call `link.down` before.
   */
  resubscribe(): void;

  /**
   * Resolves when the broker has answered. Required where `traits.echo` is `false`: the cluster layer then has no
   * other proof that the broker is there. MUST settle within 5 s.
   */
  ping?(): Promise<void>;

  /**
   * Ends every connection that the adapter has made. MUST be idempotent, MUST settle within 5 s also while the broker is
   * away, and MUST NOT reject. Afterwards the adapter MUST NOT call its link, and everything else MUST reject.
   */
  close(): Promise<void>;
}

/** What a broker can do. */
export interface ClusterTraits {
  /** A node receives what it publishes on channels that it is subscribed to. */
  readonly echo: boolean;
  /**
   * All nodes receive the messages of one channel in the same order, no matter which node published them. Where they do not,
   * `onDuplicate: 'replace'` compares when connections joined, by the clocks of their hosts.
   */
  readonly totalOrder: boolean;
  /** `publish` resolves with the exact number of receivers. */
  readonly countsReceivers: boolean;
  /** Longest message, in bytes. At least 65,536. */
  readonly maxMessageBytes: number;
}

/** What an adapter calls. None of this throws or runs code of the user. */
export interface ClusterLink {
  /**
   * A message has come.
   *
   * MUST be given a `Buffer`. Its memory MAY be used again once `receive` has returned.
   */
  receive(channel: string, message: Buffer): void;

  /**
   * The broker can be published to, and channels can be subscribed to. MUST also be called after each reconnect.
   *
   * The cluster layer then subscribes to all channels again, so an adapter need not remember them. One whose client
   * library subscribes again by itself MUST NOT call `up` before that is done.
   */
  up(): void;

  /**
   * The broker is away. MUST be called within one event of noticing; MUST NOT be called for a single command that has
   * failed. Calls while it is down already are ignored.
   */
  down(error?: Error): void;

  /** Something that the user should know and that is none of the above, such as a setting that will hurt later. */
  warn(error: Error): void;
}
