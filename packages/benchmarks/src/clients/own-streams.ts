import type { Load } from '../load.js';
import { EVERYBODY, HEADER_LENGTH, headerOf, isExcepted, Texts } from '../messages.js';
import type { ClientSocket } from './client-socket.js';
import { frameAt } from './frames.js';
import type { Receiver, TurnCounter } from './receiver.js';

/** Digits of the position and of the addressee in the header. */
const DIGITS = 8;

interface State {
  /** Of the next message that the client must get. */
  position: number;
  /** The beginning of a frame whose end has not arrived. */
  rest: Buffer | undefined;
  /** The addressee of its private messages, as bytes. */
  readonly addressee: Buffer;
}

/** A round in which every client receives something else: each one's frames are decoded and checked on their own. */
export class OwnStreams implements Receiver {
  readonly #load: Load;
  readonly #turns: TurnCounter;
  readonly #texts: Texts;
  readonly #wrap: (text: string) => string;
  readonly #connections: number;
  readonly #states: State[];
  /** What is expected at each position, for all clients but for the addressee. */
  readonly #payloads: Buffer[] = [];
  /** Where the addressee stands in a payload. */
  readonly #addresseeAt: number;
  readonly #end: number;

  constructor(
    load: Load,
    clients: readonly ClientSocket[],
    turns: TurnCounter,
    wrap: (text: string) => string,
  ) {
    this.#load = load;
    this.#turns = turns;
    this.#wrap = wrap;
    this.#texts = new Texts(load);
    this.#connections = clients.length;
    const header = headerOf(load.base, EVERYBODY, 0n);
    this.#addresseeAt = wrap(this.#texts.at(load.base)).indexOf(header) + DIGITS;
    this.#end = load.base + load.turns * load.pattern.length;
    this.#states = clients.map(({ id }) => ({
      position: load.base,
      rest: undefined,
      addressee: Buffer.from(headerOf(0, id, 0n).slice(DIGITS, 2 * DIGITS)),
    }));
    for (const client of clients) this.#skip(client, this.#stateOf(client));
  }

  receive(client: ClientSocket, chunk: Buffer, chunkLength: number): void {
    const state = this.#stateOf(client);
    let [buffer, length] = [chunk, chunkLength];
    if (state.rest !== undefined) {
      buffer = Buffer.concat([state.rest, chunk.subarray(0, chunkLength)]);
      length = buffer.length;
    }
    let offset = 0;
    for (;;) {
      const frame = frameAt(buffer, offset, length);
      if (frame === undefined) break;
      this.#checkOne(client, state, buffer, frame.start, frame.end);
      offset = frame.end;
      state.position++;
      this.#skip(client, state);
    }
    state.rest = offset < length ? Buffer.from(buffer.subarray(offset, length)) : undefined;
  }

  verify(): Promise<void> {
    const behind = this.#states.filter(({ rest }) => rest !== undefined).length;
    return behind > 0 ? Promise.reject(new Error(`${behind} streams end within a frame`)) : Promise.resolve();
  }

  describe(): string {
    const behind = this.#states.filter(({ position }) => position < this.#end).length;
    return `${this.#turns.turns} turns have reached all clients, ${behind} of them wait for more`;
  }

  #stateOf({ id }: ClientSocket): State {
    return this.#states[id] as State;
  }

  /** Goes on to the next message that is meant for the client, and counts the turns that it has complete. */
  #skip(client: ClientSocket, state: State): void {
    const { base, exceptions, pattern } = this.#load;
    while (
      state.position < this.#end &&
      isExcepted(client.id, state.position, exceptions, this.#connections)
    ) {
      state.position++;
    }
    while (client.turn < this.#load.turns && state.position >= base + (client.turn + 1) * pattern.length) {
      this.#turns.complete(client);
    }
  }

  #checkOne(client: ClientSocket, state: State, buffer: Buffer, start: number, end: number): void {
    const { position } = state;
    const index = position - this.#load.base;
    const expected = (this.#payloads[index] ??= Buffer.from(this.#wrap(this.#texts.at(position))));
    const isPrivate = this.#load.pattern[index % this.#load.pattern.length] === 'p';
    const isRight =
      end - start === expected.length &&
      position < this.#end &&
      (isPrivate
        ? this.#isAddressed(state, buffer, start, expected)
        : buffer.compare(expected, 0, expected.length, start, end) === 0);
    if (isRight) return;
    const got = buffer.toString('latin1', start, Math.min(end, start + 2 * HEADER_LENGTH));
    throw new Error(`Client ${client.id} expected message ${position}, got ${got}`);
  }

  #isAddressed({ addressee }: State, buffer: Buffer, start: number, expected: Buffer): boolean {
    const at = this.#addresseeAt;
    for (let index = 0; index < DIGITS; index++) {
      if (buffer[start + at + index] !== addressee[index]) return false;
    }
    const behind = at + DIGITS;
    return (
      buffer.compare(expected, 0, at, start, start + at) === 0 &&
      buffer.compare(expected, behind, expected.length, start + behind, start + expected.length) === 0
    );
  }
}
