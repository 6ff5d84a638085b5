import { exactBuffer, LARGE_PAYLOAD_BYTES, type Allocate, type Frame } from './frame.js';
import { reach, type Segment } from './history.js';
import type { Outgoing } from './outgoing.js';
import type { Compression } from './ws-socket.js';

/** A batch as it is compressed for members that hold some of the history. */
interface HistoryChunks {
  readonly chunks: readonly Buffer[];
  /** Where the run begins anew, when a part could not be compressed in time. */
  readonly restart: number | undefined;
}

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
  /** Where its last segment ends in the history of the namespace. */
  readonly end: number = 0;
  readonly #first: Segment | undefined;
  /**
   * For members that are behind: what they hold from here on may be referred to. The youngest of them decides for
   * all, so that they share one variant.
   */
  behindFrom: number | undefined;
  #histories: Map<Compression, Map<number, HistoryChunks>> | undefined;
  #whole: { readonly batch: Batch; readonly from: number } | undefined;
  #offsets: { readonly compression: Compression | undefined; readonly at: readonly number[] } | undefined;
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
      if (message.segment === undefined) continue;
      this.#first ??= message.segment;
      this.end = message.segment.end;
    }
    this.byteLength = byteLength;
    this.isFramed = isFramed;
  }

  /** Some of it enters the history of the namespace. */
  get hasSegments(): boolean {
    return this.#first !== undefined;
  }

  /** Where its first segment begins. */
  get start(): number {
    return this.#first?.start ?? 0;
  }

  /** From where on a member has to hold the history, to be in step. */
  reachesTo(compression: Compression): number {
    return this.#first === undefined ? 0 : this.#first.start - reach(compression, this.#first);
  }

  /** The bytes for members whose windows hold the history from `runStart` on. */
  chunksAfter(compression: Compression, runStart: number): HistoryChunks {
    if (this.#isCompressing) return this.#gatherAfter(compression, runStart);
    this.#histories ??= new Map();
    let variants = this.#histories.get(compression);
    if (variants === undefined)
      this.#histories.set(compression, (variants = new Map<number, HistoryChunks>()));
    let chunks = variants.get(runStart);
    if (chunks === undefined) variants.set(runStart, (chunks = this.#gatherAfter(compression, runStart)));
    return chunks;
  }

  /** Asked for before the end of the turn, by a connection that closes: the others get something better. */
  get #isCompressing(): boolean {
    return this.messages.some(({ isCompressing }) => isCompressing);
  }

  #gatherAfter(compression: Compression, runStart: number): HistoryChunks {
    let start = runStart;
    let restart: number | undefined;
    const frames = this.messages.map((message) => {
      const { segment } = message;
      const plain = message.frame as Frame;
      if (segment === undefined) return plain;
      const frame = message.frameAfter(compression, segment, start);
      // Not compressed in time: it goes out plain, and the run begins anew behind it.
      if (frame === undefined) restart = start = segment.end;
      return frame ?? plain;
    });
    return { chunks: gather(frames), restart };
  }

  /** The bytes for sockets of that agreement, put together when the first of them asks. */
  chunksFor(compression: Compression | undefined): readonly Buffer[] {
    if (compression === undefined) return (this.#plain ??= this.#gather(undefined));
    if (this.#isCompressing) return this.#gather(compression);
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

  /** It is a part of that batch, from that message on: its bytes are cut out of that one's, not copied again. */
  setWhole(whole: Batch, from: number): void {
    this.#whole = { batch: whole, from };
  }

  #cut(compression: Compression | undefined, from: number, count: number): Buffer | undefined {
    if (!this.isFramed || this.#isCompressing) return undefined;
    const chunks = this.chunksFor(compression);
    if (chunks.length !== 1) return undefined;
    if (this.#offsets === undefined || this.#offsets.compression !== compression) {
      let end = 0;
      const ends = this.messages.map((message) => (end += message.frameFor(compression).byteLength));
      this.#offsets = { compression, at: [0, ...ends] };
    }
    const { at } = this.#offsets;
    return chunks[0]?.subarray(at[from], at[from + count]);
  }

  #gather(compression: Compression | undefined): readonly Buffer[] {
    if (this.#whole !== undefined) {
      const { batch, from } = this.#whole;
      const cut = batch.#cut(compression, from, this.messages.length);
      if (cut !== undefined) return [cut];
    }
    return gather(this.messages.map((message) => message.frameFor(compression)));
  }
}

/** Joins small frames into one buffer of exact size; a large payload stays the chunk it is. */
function gather(frames: readonly Frame[]): readonly Buffer[] {
  const chunks: Buffer[] = [];
  let small: Buffer[] = [];
  const join = (): void => {
    if (small.length > 0) chunks.push(small.length === 1 ? (small[0] as Buffer) : concat(small, exactBuffer));
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

export function concat(parts: readonly Buffer[], allocate: Allocate): Buffer {
  const joined = allocate(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
