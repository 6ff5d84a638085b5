import type { Load } from './load.js';

/** Hexadecimal digits of the position, the addressee and the time in the header of each message. */
const POSITION_DIGITS = 8;
const ADDRESSEE_DIGITS = 8;
const STAMP_DIGITS = 16;
export const HEADER_LENGTH = POSITION_DIGITS + ADDRESSEE_DIGITS + STAMP_DIGITS;

/** The addressee of a broadcast. */
export const EVERYBODY = 0xffffffff;

/** What stands before the header in a JSON message. */
const JSON_START = '{"header":"';
/** What stands behind its records, followed by padding and the end of the object. */
const JSON_END = '],"pad":"';
/** Different bodies of JSON messages: more than a compression window of 32 KiB holds of any size used here. */
const JSON_BODIES = 64;

/** Where the header starts in the text. */
export function headerOffset(kind: Load['kind']): number {
  return kind === 'json' ? JSON_START.length : 0;
}

export function headerOf(position: number, addressee: number, stampNanos: bigint): string {
  return (
    position.toString(16).padStart(POSITION_DIGITS, '0') +
    addressee.toString(16).padStart(ADDRESSEE_DIGITS, '0') +
    stampNanos.toString(16).padStart(STAMP_DIGITS, '0')
  );
}

export function readHeader(header: string): { position: number; addressee: number; stampNanos: bigint } {
  const digits = (from: number, length: number): string => header.slice(from, from + length);
  return {
    position: parseInt(digits(0, POSITION_DIGITS), 16),
    addressee: parseInt(digits(POSITION_DIGITS, ADDRESSEE_DIGITS), 16),
    stampNanos: BigInt(`0x${digits(POSITION_DIGITS + ADDRESSEE_DIGITS, STAMP_DIGITS)}`),
  };
}

/** The message at a position: the same text on both sides, of exactly `bytes` ASCII characters. */
export class Texts {
  readonly #kind: Load['kind'];
  readonly #bodies: readonly string[];

  constructor({ kind, bytes }: Pick<Load, 'kind' | 'bytes'>) {
    this.#kind = kind;
    const rest = bytes - HEADER_LENGTH - headerOffset(kind);
    if (rest < 0) throw new RangeError(`Messages have at least ${HEADER_LENGTH} bytes, not ${bytes}`);
    this.#bodies =
      kind === 'text'
        ? [ALPHABET.repeat(Math.ceil(rest / ALPHABET.length)).slice(0, rest)]
        : Array.from({ length: JSON_BODIES }, (_, index) => jsonBody(index, rest));
  }

  at(position: number, addressee = EVERYBODY, stampNanos = 0n): string {
    const body = this.#bodies[position % this.#bodies.length] as string;
    const start = this.#kind === 'json' ? JSON_START : '';
    // Through bytes, so that a flat string comes out: no candidate pays for the concatenation.
    const text = start + headerOf(position, addressee, stampNanos) + body;
    return Buffer.from(text, 'latin1').toString('latin1');
  }
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** The rest of a JSON object behind the header: records as an application would send them, reproducible. */
function jsonBody(seed: number, length: number): string {
  const random = generator(seed + 1);
  let body = '","items":[';
  for (let index = 0; ; index++) {
    const item = JSON.stringify({
      id: Math.floor(random() * 1e9),
      user: `user-${Math.floor(random() * 1e5)}`,
      action: ['join', 'leave', 'message', 'typing'][Math.floor(random() * 4)],
      score: Math.round(random() * 1e6) / 1e3,
      isActive: random() < 0.5,
    });
    const next = `${body}${index > 0 ? ',' : ''}${item}`;
    if (next.length + JSON_END.length + 2 > length) break;
    body = next;
  }
  return `${(body + JSON_END).padEnd(length - 2, '=')}"}`;
}

/** @see https://en.wikipedia.org/wiki/Linear_congruential_generator, constants of Numerical Recipes */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Whether a broadcast leaves out the connection: a window of `exceptions` ids that moves on with each message. */
export function isExcepted(id: number, position: number, exceptions: number, connections: number): boolean {
  return (
    exceptions > 0 && (id + connections - ((position * exceptions) % connections)) % connections < exceptions
  );
}

/** The ids that a broadcast leaves out. */
export function exceptedIds(position: number, exceptions: number, connections: number): number[] {
  const first = (position * exceptions) % connections;
  return Array.from({ length: exceptions }, (_, index) => (first + index) % connections);
}
