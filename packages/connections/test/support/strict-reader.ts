import { StrictInflater } from './inflate.js';

/** One frame as it was on the wire (RFC 6455 §5.2). */
export interface WireFrame {
  readonly firstByte: number;
  readonly payload: Buffer;
}

/** One message as it was on the wire, with its fragments joined. */
export interface TappedMessage {
  readonly isCompressed: boolean;
  readonly isBinary: boolean;
  /** Payload bytes on the wire. */
  readonly wire: Buffer;
  /** The message according to our own decoder. */
  readonly message: Buffer;
  /** See `Inflated`. 0 if it is not compressed. */
  readonly reachBytes: number;
}

const [FIN, RSV1, RSV2_AND_3, OPCODE] = [0x80, 0x40, 0x30, 0x0f];
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const MASK = 0x80;
const MAX_CONTROL_BYTES = 125;

/** Whether permessage-deflate has compressed the message (RFC 7692 §6). */
export function isCompressed({ firstByte }: WireFrame): boolean {
  return (firstByte & RSV1) !== 0;
}

/**
 * Takes one frame off what a server has sent; `undefined` if not all of it is there.
 *
 * @throws {Error} it is masked, or its length is not written in the fewest bytes (RFC 6455 §5.1, §5.2)
 */
export function takeFrame(
  bytes: Buffer,
): { readonly frame: WireFrame; readonly byteLength: number } | undefined {
  if (bytes.length < 2) return undefined;
  const [firstByte, short] = bytes as unknown as [number, number];
  if ((short & MASK) !== 0) throw new Error('A masked frame of a server');
  const offset = 2 + (short < 126 ? 0 : short === 126 ? 2 : 8);
  if (bytes.length < offset) return undefined;
  const length =
    offset === 2 ? short : offset === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if ((offset === 4 && length < 126) || (offset === 10 && length < 2 ** 16))
    throw new Error(`A length of ${length} written in ${offset - 2} bytes`);
  if (length > Number.MAX_SAFE_INTEGER) throw new Error('A length that no message has');
  if (bytes.length < offset + length) return undefined;
  const payload = bytes.subarray(offset, offset + length);
  return { frame: { firstByte, payload }, byteLength: offset + length };
}

/** Close codes that a frame may carry (RFC 6455 §7.4; 1012-1014 by IANA's registry). */
function isCloseCode(code: number): boolean {
  if (code >= 3000 && code < 5000) return true;
  return code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code);
}

function checkText(bytes: Buffer, what: string): void {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error(`${what} that is not UTF-8`);
  }
}

/**
 * Reads the output of a server as strictly as RFC 6455 and RFC 7692 are written. Clients are lenient: `ws`, for
 * example, accepts lengths that are longer than necessary, and references to bytes that its window does not hold.
 */
export class StrictReader {
  readonly messages: TappedMessage[] = [];
  /** What the server should not have sent. Nothing after it is read. */
  violation: Error | undefined;
  readonly #inflater: (() => StrictInflater) | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #open: { readonly firstByte: number; readonly parts: Buffer[] } | undefined;
  #isClosed = false;

  /** @param extensions the agreed ones, as in the header */
  constructor(extensions: string) {
    if (!extensions.includes('permessage-deflate')) return;
    const windowBits = Number(/server_max_window_bits=(\d+)/.exec(extensions)?.[1] ?? 15);
    const inflater = new StrictInflater(windowBits);
    const isStateless = extensions.includes('server_no_context_takeover');
    this.#inflater = () => (isStateless ? new StrictInflater(windowBits) : inflater);
  }

  read(chunk: Buffer): void {
    if (this.violation !== undefined) return;
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    try {
      this.#readFrames();
    } catch (error) {
      this.violation = error as Error;
    }
  }

  #readFrames(): void {
    for (let taken = takeFrame(this.#bytes); taken !== undefined; taken = takeFrame(this.#bytes)) {
      this.#bytes = this.#bytes.subarray(taken.byteLength);
      this.#take(taken.frame);
    }
    if (this.#isClosed && this.#bytes.length > 0) throw new Error('Bytes after a close frame');
  }

  #take(frame: WireFrame): void {
    const { firstByte } = frame;
    if (this.#isClosed) throw new Error('A frame after a close frame');
    if ((firstByte & RSV2_AND_3) !== 0) throw new Error('A bit of an extension that nobody has agreed to');
    const opcode = firstByte & OPCODE;
    if (opcode === CLOSE || opcode === PING || opcode === PONG) this.#takeControl(opcode, frame);
    else if (opcode === CONTINUATION || opcode === TEXT || opcode === BINARY) this.#takeData(opcode, frame);
    else throw new Error(`The opcode ${opcode}`);
  }

  #takeControl(opcode: number, { firstByte, payload }: WireFrame): void {
    if ((firstByte & FIN) === 0) throw new Error('A control frame in fragments');
    if ((firstByte & RSV1) !== 0) throw new Error('A compressed control frame');
    if (payload.length > MAX_CONTROL_BYTES) throw new Error(`A control frame of ${payload.length} bytes`);
    if (opcode !== CLOSE) return;
    this.#isClosed = true;
    if (payload.length === 0) return;
    if (payload.length === 1) throw new Error('A close code of one byte');
    const code = payload.readUInt16BE(0);
    if (!isCloseCode(code)) throw new Error(`The close code ${code}`);
    checkText(payload.subarray(2), 'A reason');
  }

  #takeData(opcode: number, frame: WireFrame): void {
    const { firstByte, payload } = frame;
    if ((opcode === CONTINUATION) !== (this.#open !== undefined))
      throw new Error(
        opcode === CONTINUATION ? 'A continuation of no message' : 'A message inside another one',
      );
    if (isCompressed(frame)) {
      if (this.#inflater === undefined) throw new Error('A compressed message that nobody has agreed to');
      if (opcode === CONTINUATION) throw new Error('A compressed continuation');
    }
    const open = (this.#open ??= { firstByte, parts: [] });
    open.parts.push(payload);
    if ((firstByte & FIN) === 0) return;
    this.#open = undefined;
    this.#end(open.firstByte, Buffer.concat(open.parts));
  }

  #end(firstByte: number, wire: Buffer): void {
    const isMessageCompressed = (firstByte & RSV1) !== 0;
    const isBinary = (firstByte & OPCODE) === BINARY;
    const { message, reachBytes } = isMessageCompressed
      ? this.#inflater!().inflate(wire)
      : { message: wire, reachBytes: 0 };
    if (!isBinary) checkText(message, 'Text');
    this.messages.push({ isCompressed: isMessageCompressed, isBinary, wire, message, reachBytes });
  }
}
