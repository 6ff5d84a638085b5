/** What messages consist of. */
export interface Content {
  /** Size of each. */
  readonly bytes: number;
  readonly body: 'text' | 'json';
}

/** Hexadecimal digits of the position, and of the addressee, at the start of each message. */
const DIGITS = 8;

/** The addressee of a broadcast. */
const EVERYBODY = 0xffffffff;

const JSON_START = '{"header":"';
const JSON_END = '],"pad":"';
/** Different bodies of JSON messages: more than a compression window of 32 KiB holds of any size used here. */
const JSON_BODIES = 64;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

const hex = (value: number): string => value.toString(16).padStart(DIGITS, '0');

/** The message at a position: the same text on both sides, of exactly `bytes` ASCII characters. */
export class Texts {
  readonly #start: string;
  readonly #bodies: readonly string[];

  constructor({ body, bytes }: Content) {
    this.#start = body === 'json' ? JSON_START : '';
    const rest = bytes - this.#start.length - 2 * DIGITS;
    this.#bodies =
      body === 'json'
        ? Array.from({ length: JSON_BODIES }, (_, index) => jsonBody(index, rest))
        : [ALPHABET.repeat(Math.ceil(rest / ALPHABET.length)).slice(0, rest)];
  }

  at(position: number, addressee = EVERYBODY): string {
    const body = this.#bodies[position % this.#bodies.length] as string;
    // Converted through bytes, so that the string is flat: no candidate pays for the concatenation.
    const text = this.#start + hex(position) + hex(addressee) + body;
    return Buffer.from(text, 'latin1').toString('latin1');
  }
}

/** The rest of a JSON object after the header: records as an application would send them, reproducible. */
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
