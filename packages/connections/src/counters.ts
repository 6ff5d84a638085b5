/** How each figure of `PoolStats` is to be read: a counter only grows, a gauge tells how it is now. */
export interface Counters {
  /** Messages handed to sockets and handlers, one for each recipient. Counter. */
  messagesSent: number;
  /** Size of those messages as frames, before compression, in bytes. Counter. */
  bytesSent: number;
  /**
   * Bytes written for those messages, after the library's own compression. Messages that a socket compresses for
   * itself count uncompressed, as the socket does not tell. Without TLS and TCP. Counter.
   */
  wireBytesSent: number;
  /** Writes of whole frames; one write can carry all messages of a turn. Counter. */
  writes: number;
  /** Broadcasts that had at least one recipient. Counter. */
  broadcasts: number;
  /** Messages that were compressed once for many connections. Counter. */
  compressedMessages: number;
  /** Compressions made for them: one per window size, and one more for members that lack some history. Counter. */
  compressions: number;
  /** Payload bytes before those compressions. Counter. */
  compressedBytesIn: number;
  /** Payload bytes after those compressions. Counter. */
  compressedBytesOut: number;
  /** Messages received from clients and delivered. Counter. */
  messagesReceived: number;
  /** Size of their payloads in bytes. Counter. */
  bytesReceived: number;
  /**
   * Messages received and not delivered: closing had begun, nobody ever listened, or they exceeded the rate limit.
   * Counter.
   */
  messagesIgnored: number;
  /** Messages that exceeded the rate limit, whatever became of them. Counter. */
  rateLimited: number;
  /** Messages refused by the slow-reader policy, one for each recipient. Counter. */
  dropped: number;
  /** Messages held back because a reader was behind, one for each recipient. Counter. */
  conflated: number;
  /** Those of them that were never sent, because a newer one under the same key replaced them. Counter. */
  superseded: number;
  /** Times that a connection became a slow reader. Counter. */
  slowReaders: number;
  /** Connections that are slow readers now. Gauge. */
  slowNow: number;
  /** Connections that this side is closing, or whose socket has closed, and that are still in the pool. Gauge. */
  closing: number;
  /** Connections closed because their idle limit passed. Counter. */
  idleTimeouts: number;
  /** Pings sent by the heartbeat. Counter. */
  pings: number;
  /** Connections terminated because their heartbeat was lost. Counter. */
  heartbeatsLost: number;
  /** Drains begun. Counter. */
  drains: number;
  /** Connections refused: their id was taken, the pool was draining, or they had closed already. Counter. */
  refused: number;
  /** Connections ended without a closing handshake. Counter. */
  terminated: number;
  /** Errors of sockets, handlers and listeners. Counter. */
  errors: number;
}

/** What a pool holds now, and what it has done since it was made. */
export interface PoolStats extends Readonly<Counters> {
  /** Connections in the pool. Gauge. */
  readonly connections: number;
  /** Namespaces that have connections. Gauge. */
  readonly namespaces: number;
  /** Rooms that have members. Gauge. */
  readonly rooms: number;
}

export function newCounters(): Counters {
  return {
    messagesSent: 0,
    bytesSent: 0,
    wireBytesSent: 0,
    writes: 0,
    broadcasts: 0,
    compressedMessages: 0,
    compressions: 0,
    compressedBytesIn: 0,
    compressedBytesOut: 0,
    messagesReceived: 0,
    bytesReceived: 0,
    messagesIgnored: 0,
    rateLimited: 0,
    dropped: 0,
    conflated: 0,
    superseded: 0,
    slowReaders: 0,
    slowNow: 0,
    closing: 0,
    idleTimeouts: 0,
    pings: 0,
    heartbeatsLost: 0,
    drains: 0,
    refused: 0,
    terminated: 0,
    errors: 0,
  };
}
