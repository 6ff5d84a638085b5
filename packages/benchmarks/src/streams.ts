import { constants, inflateRawSync } from 'node:zlib';
import type { Load } from './calls.js';
import { frameAt, textFrame, type MessageFrame } from './frames.js';
import { isPersonal, kindOf } from './kinds.js';
import { Texts } from './messages.js';

/** Wraps a text as the protocol does. */
export type Wrap = (text: string) => string;

/** The bytes that one client must receive in a round, or all of them alike. */
export class Stream {
  bytes: Buffer;
  length: number;
  /** Where each turn ends. */
  readonly turnEnds: number[] = [];

  constructor(turns: readonly (readonly Buffer[])[]) {
    this.bytes = Buffer.concat(turns.flat());
    this.length = this.bytes.length;
    let end = 0;
    for (const frames of turns)
      this.turnEnds.push((end = frames.reduce((sum, { length }) => sum + length, end)));
  }

  /** Whether this is due at the offset. */
  takes(offset: number, chunk: Buffer, length: number): boolean {
    const end = offset + length;
    return end <= this.length && chunk.compare(this.bytes, offset, end, 0, length) === 0;
  }
}

/** For each client its stream as it is known beforehand; the same one for all if they receive the same. */
export function knownStreams(load: Load, connections: number, wrap: Wrap): Stream[] {
  const { base, turns, turn } = load;
  const kinds = turn.map(kindOf);
  const texts = new Texts(load);
  const frame = (position: number, id?: number): Buffer => textFrame(wrap(texts.at(position, id)));
  const common = Array.from({ length: turns * turn.length }, (_, index) => frame(base + index));
  const turnOf = (id: number, first: number): Buffer[] =>
    kinds.flatMap(({ isAddressed, reaches }, index) => {
      const message = first + index;
      if (reaches && !reaches(id, base + message, connections)) return [];
      return [isAddressed ? frame(base + message, id) : (common[message] as Buffer)];
    });
  // Messages that nobody receives have no turns either: the server reports when it has them.
  const length = kinds.some(({ reaction }) => reaction === 'count') ? 0 : turns;
  const streamOf = (id: number): Stream =>
    new Stream(Array.from({ length }, (_, index) => turnOf(id, index * turn.length)));
  const ofAll = kinds.some(isPersonal) ? undefined : streamOf(0);
  return Array.from({ length: connections }, (_, id) => ofAll ?? streamOf(id));
}

const INITIAL_BYTES = 1024 * 1024;

/**
 * What all clients must receive alike, where the server may choose how: compression, or the order in which it hears
 * clients. It is learned from the client that is ahead, and its messages are checked at the end.
 */
export class LearnedStream extends Stream {
  readonly #frames: MessageFrame[] = [];
  readonly #load: Load;

  constructor(load: Load) {
    super([]);
    this.#load = load;
  }

  override takes(offset: number, chunk: Buffer, length: number): boolean {
    if (offset + length > this.length) this.#append(chunk.subarray(this.length - offset, length));
    return super.takes(offset, chunk, length);
  }

  /** @throws {Error} a message is wrong, missing or surplus */
  check(wrap: Wrap, inflater: Inflater | undefined): void {
    const { base, turns, turn } = this.#load;
    const texts = new Texts(this.#load);
    const expected = Array.from({ length: turns * turn.length }, (_, index) => wrap(texts.at(base + index)));
    const payloads = this.#frames.map(({ start, end }) => this.bytes.subarray(start, end));
    assertSame(payloads.length, expected.length, 'messages');
    if (inflater) {
      const compressed = this.#frames.filter(({ isCompressed }) => isCompressed);
      assertSame(compressed.length, expected.length, 'compressed messages');
      assertSame(inflater.inflate(payloads), expected.join(''), 'decompressed messages');
      return;
    }
    for (let first = 0; first < expected.length; first += turn.length) {
      const received = payloads.slice(first, first + turn.length).map(String);
      const wanted = expected.slice(first, first + turn.length);
      assertSame(received.sort().join(), wanted.sort().join(), `messages from ${first} on, in any order`);
    }
  }

  #append(bytes: Buffer): void {
    const length = this.length + bytes.length;
    if (length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(INITIAL_BYTES, length, 2 * this.bytes.length));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    bytes.copy(this.bytes, this.length);
    this.length = length;
    for (let frame; (frame = frameAt(this.bytes, this.#frames.at(-1)?.end ?? 0, length));) {
      if (this.#frames.push(frame) % this.#load.turn.length === 0) this.turnEnds.push(frame.end);
    }
  }
}

/** What permessage-deflate leaves out at the end of each message: RFC 7692 §7.2.2. */
const TRAILER = Buffer.of(0x00, 0x00, 0xff, 0xff);
const WINDOW_BYTES = 32 * 1024;

/**
 * Decompresses all that one client receives. Where each message starts from an empty window the kept one does no
 * harm, so that both kinds of agreement are read alike.
 */
export class Inflater {
  #window = Buffer.alloc(0);

  /** The messages one after the other, decompressed. */
  inflate(payloads: readonly Buffer[]): string {
    const bytes = inflateRawSync(Buffer.concat(payloads.flatMap((payload) => [payload, TRAILER])), {
      finishFlush: constants.Z_SYNC_FLUSH,
      dictionary: this.#window,
    });
    this.#window = Buffer.concat([this.#window, bytes]).subarray(-WINDOW_BYTES);
    return bytes.toString();
  }
}

function assertSame(received: string | number, expected: string | number, what: string): void {
  if (received === expected) return;
  throw new Error(`Expected ${what}: ${String(expected).slice(0, 80)}, got ${String(received).slice(0, 80)}`);
}
