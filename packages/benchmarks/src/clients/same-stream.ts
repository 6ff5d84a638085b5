import type { ClientSocket } from './client-socket.js';
import { frameAt } from './frames.js';
import type { TurnCounter, Receiver } from './receiver.js';

/** Takes the messages of the stream, in order, and says whether they are what was to be sent. */
export type Check = (payloads: readonly Buffer[], isCompressed: readonly boolean[]) => Promise<void>;

const INITIAL_BYTES = 1024 * 1024;

/**
 * A round in which all clients must receive the same bytes. The client that is ahead adds to the stream, all others
 * are compared with it byte by byte, and the frames of the stream itself are decoded and checked once.
 */
export class SameStream implements Receiver {
  readonly #turns: TurnCounter;
  readonly #messagesPerTurn: number;
  readonly #check: Check;
  #stream = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #length = 0;
  /** Where the first frame begins that is not complete. */
  #scanned = 0;
  #messages = 0;
  /** Where each turn ends. */
  readonly #turnEnds: number[] = [];

  constructor(turns: TurnCounter, messagesPerTurn: number, check: Check) {
    this.#turns = turns;
    this.#messagesPerTurn = messagesPerTurn;
    this.#check = check;
  }

  receive(client: ClientSocket, buffer: Buffer, length: number): void {
    const { offset } = client;
    const known = Math.min(length, this.#length - offset);
    if (known > 0 && buffer.compare(this.#stream, offset, offset + known, 0, known) !== 0) {
      throw new Error(
        `Client ${client.id} received other bytes than the rest within ${offset}-${offset + known}`,
      );
    }
    if (known < length) this.#append(buffer, known, length);
    client.offset = offset + length;
    while (client.offset >= (this.#turnEnds[client.turn] ?? Infinity)) this.#turns.complete(client);
  }

  async verify(): Promise<void> {
    const payloads: Buffer[] = [];
    const isCompressed: boolean[] = [];
    for (let offset = 0; offset < this.#length;) {
      const frame = frameAt(this.#stream, offset, this.#length);
      if (frame === undefined) throw new Error('The stream ends within a frame');
      payloads.push(this.#stream.subarray(frame.start, frame.end));
      isCompressed.push(frame.isCompressed);
      offset = frame.end;
    }
    await this.#check(payloads, isCompressed);
  }

  describe(): string {
    return `${this.#messages} messages have reached one client, ${this.#turns.turns} turns all of them`;
  }

  #append(buffer: Buffer, start: number, end: number): void {
    const length = this.#length + end - start;
    if (length > this.#stream.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#stream.length));
      this.#stream.copy(larger, 0, 0, this.#length);
      this.#stream = larger;
    }
    buffer.copy(this.#stream, this.#length, start, end);
    this.#length = length;
    for (;;) {
      const frame = frameAt(this.#stream, this.#scanned, this.#length);
      if (frame === undefined) return;
      this.#scanned = frame.end;
      if (++this.#messages % this.#messagesPerTurn === 0) this.#turnEnds.push(frame.end);
    }
  }
}
