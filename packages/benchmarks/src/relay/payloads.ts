import { binaryFrame, textFrame } from '../frames.js';
import { Texts } from '../messages.js';
import type { MessageSettings } from './calls.js';

export type Payload = string | Buffer;

/** Bytes of payload that are prepared for one kind of message. */
const MAX_PREPARED_BYTES = 16 * 1024 * 1024;
const MAX_PREPARED = 16_384;

const frameOf = (payload: Payload): Buffer =>
  typeof payload === 'string' ? textFrame(payload) : binaryFrame(payload);

/**
 * What is sent, the same on both sides: many different payloads, over and over again. One that is missing, additional
 * or out of place makes all that follow differ from what is expected.
 */
export class Payloads {
  readonly #ring: readonly Payload[];

  /** The frames of all of them, one after the other. */
  readonly #frames: Buffer;
  readonly #frameBytes: number;

  constructor({ bytes, body }: Pick<MessageSettings, 'bytes' | 'body'>) {
    const texts = new Texts({ body: 'text', bytes });
    const length = Math.min(MAX_PREPARED, Math.floor(MAX_PREPARED_BYTES / bytes));
    this.#ring = Array.from({ length }, (_, position) => {
      const text = texts.at(position);
      return body === 'text' ? text : Buffer.from(text);
    });
    this.#frames = Buffer.concat(this.#ring.map(frameOf));
    this.#frameBytes = this.#frames.length / length;
  }

  at(position: number): Payload {
    return this.#ring[position % this.#ring.length] as Payload;
  }

  /** Whether this is the payload that is due. */
  isAt(position: number, received: string | Uint8Array): boolean {
    const expected = this.at(position);
    if (typeof expected === 'string' || typeof received === 'string') return received === expected;
    return expected.equals(received);
  }

  /** Whether these are the frames that are due. */
  areFramesAt(position: number, received: Buffer): boolean {
    const { length } = this.#frames;
    for (let at = 0, start = (position * this.#frameBytes) % length; at < received.length; start = 0) {
      const end = Math.min(received.length, at + length - start);
      if (received.compare(this.#frames, start, start + end - at, at, end) !== 0) return false;
      at = end;
    }
    return received.length % this.#frameBytes === 0;
  }

  framesIn(bytes: Buffer): number {
    return bytes.length / this.#frameBytes;
  }
}
