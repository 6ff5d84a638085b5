import { isUtf8 } from 'node:buffer';

/** Bytes that came from the broker are not what they should be. Never leaves the cluster layer. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/** Largest integer that a varint may hold: beyond it numbers are not exact. */
const MAX_INTEGER = Number.MAX_SAFE_INTEGER;
const CONTINUES = 0x80;
const LOW_BITS = 0x7f;

/** Bytes that a varint takes: 7 bits in each. */
export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= CONTINUES; rest = Math.floor(rest / CONTINUES)) length++;
  return length;
}

/** Writes a varint (LEB128). @returns the offset after it */
export function writeVarint(target: Buffer, value: number, offset: number): number {
  let rest = value;
  let at = offset;
  for (; rest >= CONTINUES; rest = Math.floor(rest / CONTINUES))
    target[at++] = (rest % CONTINUES) | CONTINUES;
  target[at++] = rest;
  return at;
}

/**
 * A string on the wire: varint `2 * bytes + isUtf16`, then the bytes. Strings with lone surrogates, which UTF-8 cannot
 * hold, are UTF-16: two different names must never become the same bytes.
 */
export class ByteWriter {
  readonly #parts: Buffer[] = [];
  #byteLength = 0;

  byte(value: number): this {
    return this.bytes(Buffer.of(value));
  }

  varint(value: number): this {
    const buffer = Buffer.allocUnsafe(varintLength(value));
    writeVarint(buffer, value, 0);
    return this.bytes(buffer);
  }

  u16(value: number): this {
    const buffer = Buffer.allocUnsafe(2);
    buffer.writeUInt16BE(value);
    return this.bytes(buffer);
  }

  string(text: string): this {
    const utf8 = Buffer.from(text);
    const isWellFormed = utf8.toString() === text;
    const bytes = isWellFormed ? utf8 : Buffer.from(text, 'utf16le');
    return this.varint(2 * bytes.length + (isWellFormed ? 0 : 1)).bytes(bytes);
  }

  strings(texts: readonly string[]): this {
    this.varint(texts.length);
    for (const text of texts) this.string(text);
    return this;
  }

  bytes(bytes: Buffer): this {
    this.#parts.push(bytes);
    this.#byteLength += bytes.length;
    return this;
  }

  end(): Buffer {
    return Buffer.concat(this.#parts, this.#byteLength);
  }
}

/** Reads what a `ByteWriter` has written. Each method throws a `WireError` instead of reading past the end. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  byte(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  u16(): number {
    this.#need(2);
    const value = this.#bytes.readUInt16BE(this.#at);
    this.#at += 2;
    return value;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= CONTINUES) {
      const byte = this.byte();
      value += (byte & LOW_BITS) * scale;
      const isTooLong = value > MAX_INTEGER || scale > MAX_INTEGER;
      if (isTooLong || (byte === 0 && scale > 1)) throw new WireError('A number is too long');
      if (byte < CONTINUES) return value;
    }
  }

  string(): string {
    const lengthAndForm = this.varint();
    const bytes = this.bytes(Math.floor(lengthAndForm / 2));
    if (lengthAndForm % 2 === 0) {
      if (!isUtf8(bytes)) throw new WireError('A string is not UTF-8');
      return bytes.toString();
    }
    if (bytes.length % 2 !== 0) throw new WireError('A string is not UTF-16');
    return bytes.toString('utf16le');
  }

  strings(): string[] {
    const count = this.varint();
    // Each takes a byte at least: a short message cannot ask for a long list.
    this.#need(count);
    return Array.from({ length: count }, () => this.string());
  }

  /** A view of the next bytes, not a copy. */
  bytes(length: number): Buffer {
    this.#need(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Whatever is left. */
  rest(): Buffer {
    return this.bytes(this.left);
  }

  /** @throws {WireError} something is left */
  finish(): void {
    if (this.left > 0) throw new WireError('A record is too long');
  }

  #need(length: number): void {
    if (length > this.left) throw new WireError(`Expected ${length} more bytes, got ${this.left}`);
  }
}
