/** What a pool has done since it was made. Every figure only grows. */
export interface Counters {
  /** Messages handed to sockets and handlers, one for each recipient. */
  messagesSent: number;
  /** Their bytes as frames, before compression. */
  bytesSent: number;
  /** Writes that carried broadcasts or private messages directly; one write can carry a whole turn. */
  writes: number;
  /** Calls of a broadcast method that reached a namespace with members. */
  broadcasts: number;
  /** Messages that the library itself compressed, once for many. */
  compressedMessages: number;
  /** Compressions that took: one for each window size, and one more for members whose history is shorter. */
  compressions: number;
  /** Payload bytes that went into them. */
  compressedBytesIn: number;
  /** Payload bytes that came out of them. */
  compressedBytesOut: number;
  /** Messages refused by the slow-reader policy, one for each recipient. */
  dropped: number;
  /** Times that a connection became a slow reader. */
  slowReaders: number;
  /** Connections closed because their idle limit passed. */
  idleTimeouts: number;
  /** Pings sent by the heartbeat. */
  pings: number;
  /** Connections terminated because their heartbeat was lost. */
  heartbeatsLost: number;
  /** Drains begun. */
  drains: number;
  /** Connections refused: duplicate ids, and newcomers while draining. */
  refused: number;
  /** Connections ended without a closing handshake. */
  terminated: number;
  /** Errors of sockets, handlers and listeners. */
  errors: number;
}

export function newCounters(): Counters {
  return {
    messagesSent: 0,
    bytesSent: 0,
    writes: 0,
    broadcasts: 0,
    compressedMessages: 0,
    compressions: 0,
    compressedBytesIn: 0,
    compressedBytesOut: 0,
    dropped: 0,
    slowReaders: 0,
    idleTimeouts: 0,
    pings: 0,
    heartbeatsLost: 0,
    drains: 0,
    refused: 0,
    terminated: 0,
    errors: 0,
  };
}
