/** A decompressed message, and how far back before its own start it refers. */
export interface Inflated {
  readonly message: Buffer;
  /** Bytes before the message; 0 if it refers to nothing but itself. */
  readonly reachBytes: number;
}

/** The bytes that a sender omits at the end of a message (RFC 7692 §7.2.2). */
const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff]);

// RFC 1951 §3.2.5: length codes 257-285 and distance codes 0-29.
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const LENGTH_BASE = bases(LENGTH_EXTRA, 3);
LENGTH_BASE[28] = 258;
const DISTANCE_EXTRA = Array.from({ length: 30 }, (_, code) => Math.max(0, (code >> 1) - 1));
const DISTANCE_BASE = bases(DISTANCE_EXTRA, 1);
// RFC 1951 §3.2.7: the order of the lengths of the code lengths.
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

function bases(extra: readonly number[], first: number): number[] {
  let base = first;
  return extra.map((bits) => (base += 1 << bits) - (1 << bits));
}

/** A Huffman code as numbers of codes per length and the symbols in their order (RFC 1951 §3.2.2). */
class Huffman {
  readonly #counts = new Uint16Array(16);
  readonly #symbols: Uint16Array;

  constructor(lengths: readonly number[]) {
    this.#symbols = new Uint16Array(lengths.length);
    for (const length of lengths) this.#counts[length]!++;
    this.#counts[0] = 0;
    const offsets = new Uint16Array(16);
    for (let length = 1; length < 15; length++)
      offsets[length + 1] = offsets[length]! + this.#counts[length]!;
    for (const [symbol, length] of lengths.entries())
      if (length !== 0) this.#symbols[offsets[length]!++] = symbol;
  }

  read(bits: Bits): number {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length < 16; length++) {
      code |= bits.read(1);
      const count = this.#counts[length]!;
      if (code - first < count) return this.#symbols[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Error('No such Huffman code');
  }
}

class Bits {
  readonly #bytes: Buffer;
  #at = 0;
  /** Bits of the previous byte that are not taken yet. */
  #held = 0;
  #count = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#count === 0 && this.#at === this.#bytes.length;
  }

  /** Up to 16 bits. */
  read(count: number): number {
    while (this.#count < count) {
      if (this.#at >= this.#bytes.length) throw new Error('The compressed payload ends too early');
      this.#held |= this.#bytes[this.#at++]! << this.#count;
      this.#count += 8;
    }
    const value = this.#held & ((1 << count) - 1);
    this.#held >>>= count;
    this.#count -= count;
    return value;
  }

  /** Bytes from the next byte boundary on. */
  bytes(count: number): Buffer {
    const start = this.#at;
    this.#held = this.#count = 0;
    this.#at = start + count;
    if (this.#at > this.#bytes.length) throw new Error('The compressed payload ends too early');
    return this.#bytes.subarray(start, this.#at);
  }
}

const FIXED = {
  literals: new Huffman(
    Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8)),
  ),
  distances: new Huffman(Array.from({ length: 30 }, () => 5)),
};

/**
 * A raw DEFLATE decoder of our own that knows byte by byte what a client's window holds.
 *
 * zlib accepts a reference beyond the agreed window as long as the bytes happen to be in its output buffer. This one
 * does not: a reference may reach neither further back than 2^windowBits nor before the first byte that the client has
 * inflated.
 */
export class StrictInflater {
  readonly #windowBytes: number;
  /** The window, followed by what is being inflated. */
  #bytes = Buffer.alloc(0);
  #length = 0;

  constructor(windowBits: number) {
    this.#windowBytes = 2 ** windowBits;
  }

  /** @throws {Error} no DEFLATE data, or a reference to what the window does not hold */
  inflate(payload: Buffer): Inflated {
    const bits = new Bits(Buffer.concat([payload, TRAILER]));
    this.#length = Math.min(this.#length, this.#windowBytes);
    this.#bytes = Buffer.from(this.#bytes);
    const start = this.#length;
    let reachBytes = 0;
    while (!bits.isAtEnd) reachBytes = Math.max(reachBytes, this.#block(bits, start));
    const message = Buffer.from(this.#bytes.subarray(start, this.#length));
    this.#bytes = this.#bytes.subarray(Math.max(0, this.#length - this.#windowBytes), this.#length);
    return { message, reachBytes };
  }

  /** One block (RFC 1951 §3.2.3). */
  #block(bits: Bits, start: number): number {
    if (bits.read(1) === 1) throw new Error('A final block: the stream would end here');
    const type = bits.read(2);
    if (type === 0) this.#stored(bits);
    else if (type === 1) return this.#coded(bits, FIXED.literals, FIXED.distances, start);
    else if (type === 2) return this.#coded(bits, ...dynamicCodes(bits), start);
    else throw new Error('No such block type');
    return 0;
  }

  #stored(bits: Bits): void {
    const head = bits.bytes(4);
    const length = head.readUInt16LE(0);
    if ((length ^ head.readUInt16LE(2)) !== 0xffff) throw new Error('A stored block of another length');
    for (const byte of bits.bytes(length)) this.#push(byte);
  }

  #coded(bits: Bits, literals: Huffman, distances: Huffman, start: number): number {
    let reachBytes = 0;
    for (let symbol = literals.read(bits); symbol !== 256; symbol = literals.read(bits)) {
      if (symbol < 256) {
        this.#push(symbol);
        continue;
      }
      const length = LENGTH_BASE[symbol - 257]! + bits.read(LENGTH_EXTRA[symbol - 257]!);
      const code = distances.read(bits);
      const distance = DISTANCE_BASE[code]! + bits.read(DISTANCE_EXTRA[code]!);
      if (distance > this.#windowBytes || distance > this.#length)
        throw new Error(`A reference ${distance} back: ${this.#length} of ${this.#windowBytes} are there`);
      reachBytes = Math.max(reachBytes, distance - (this.#length - start));
      for (let i = 0; i < length; i++) this.#push(this.#bytes[this.#length - distance]!);
    }
    return reachBytes;
  }

  #push(byte: number): void {
    if (this.#length === this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(Math.max(1024, this.#bytes.length))]);
    this.#bytes[this.#length++] = byte;
  }
}

/** RFC 1951 §3.2.7. */
function dynamicCodes(bits: Bits): [literals: Huffman, distances: Huffman] {
  const [literals, distances, codes] = [bits.read(5) + 257, bits.read(5) + 1, bits.read(4) + 4];
  const codeLengths = Array.from({ length: 19 }, () => 0);
  for (const symbol of CODE_ORDER.slice(0, codes)) codeLengths[symbol] = bits.read(3);
  const code = new Huffman(codeLengths);
  const lengths: number[] = [];
  const repeat = (value: number, times: number): void => {
    for (let i = 0; i < times; i++) lengths.push(value);
  };
  while (lengths.length < literals + distances) {
    const symbol = code.read(bits);
    if (symbol < 16) lengths.push(symbol);
    else if (symbol === 16) repeat(lengths.at(-1)!, 3 + bits.read(2));
    else if (symbol === 17) repeat(0, 3 + bits.read(3));
    else repeat(0, 11 + bits.read(7));
  }
  return [new Huffman(lengths.slice(0, literals)), new Huffman(lengths.slice(literals))];
}
