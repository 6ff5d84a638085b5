import { LARGE_PAYLOAD_BYTES, type Frame } from './frame.js';
import type { Outgoing } from './outgoing.js';
import type { Compression } from './ws-socket.js';

/**
 * Messages that leave one after the other in one write. A batch of broadcasts is shared by all connections that
 * get just these: its bytes are put together once.
 */
export class Batch {
  readonly messages: readonly Outgoing[];
  /** For one connection, not cut from the log of its namespace. */
  readonly isPrivate: boolean;
  /** Bytes on the wire when nothing compresses them. */
  readonly byteLength: number;
  /** All messages have their frames at hand: none has to be left to the socket's own `send()`. */
  readonly isFramed: boolean;
  /** Connections that got the whole batch. Kept here, so that counting costs nothing per message. */
  sent = 0;
  #plain: readonly Buffer[] | undefined;
  #compressed: Map<Compression, readonly Buffer[]> | undefined;

  constructor(messages: readonly Outgoing[], isPrivate: boolean) {
    this.messages = messages;
    this.isPrivate = isPrivate;
    let byteLength = 0;
    let isFramed = true;
    for (const message of messages) {
      byteLength += message.byteLength;
      isFramed &&= message.frame !== undefined;
    }
    this.byteLength = byteLength;
    this.isFramed = isFramed;
  }

  /** The bytes for sockets of that agreement, put together when the first of them asks. */
  chunksFor(compression: Compression | undefined): readonly Buffer[] {
    if (compression === undefined) return (this.#plain ??= this.#gather(undefined));
    let chunks = this.#compressed?.get(compression);
    if (chunks === undefined) {
      chunks = this.#gather(compression);
      (this.#compressed ??= new Map()).set(compression, chunks);
    }
    return chunks;
  }

  /** Adds the connections that got the whole batch to the count of each message. */
  distributeCounts(): void {
    for (const message of this.messages) message.sent += this.sent;
    this.sent = 0;
  }

  #gather(compression: Compression | undefined): readonly Buffer[] {
    return gather(this.messages.map((message) => message.frameFor(compression)));
  }
}

/** Joins small frames into one buffer of exact size; a large payload stays the chunk it is. */
function gather(frames: readonly Frame[]): readonly Buffer[] {
  const chunks: Buffer[] = [];
  let small: Buffer[] = [];
  const join = (): void => {
    if (small.length > 0) chunks.push(small.length === 1 ? (small[0] as Buffer) : concat(small));
    small = [];
  };
  for (const { chunks: parts } of frames) {
    for (const part of parts) {
      if (part.length <= LARGE_PAYLOAD_BYTES + 10) small.push(part);
      else {
        join();
        chunks.push(part);
      }
    }
  }
  join();
  return chunks;
}

function concat(parts: readonly Buffer[]): Buffer {
  const joined = Buffer.allocUnsafeSlow(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
