import type { ClientSocket } from './client-socket.js';

/** Checks what the clients receive in one round. */
export interface Receiver {
  receive(client: ClientSocket, buffer: Buffer, length: number): void;
  /** The content, as far as it is not checked while it arrives. */
  verify(): Promise<void>;
  /** What was missing, for a round that got stuck. */
  describe(): string;
}

/** Counts the clients that have completed each turn. */
export class TurnCounter {
  /** When the last client had each turn, in ns of the monotonic clock. */
  readonly completedAt: bigint[] = [];
  readonly #connections: number;
  readonly #onTurn: (turns: number) => void;
  readonly #isTimed: boolean;
  readonly #counts: number[] = [];

  constructor(connections: number, isTimed: boolean, onTurn: (turns: number) => void) {
    this.#connections = connections;
    this.#isTimed = isTimed;
    this.#onTurn = onTurn;
  }

  /** Turns that have reached all clients. */
  turns = 0;

  complete(client: ClientSocket): void {
    const turn = client.turn++;
    const count = (this.#counts[turn] ?? 0) + 1;
    this.#counts[turn] = count;
    if (count < this.#connections) return;
    if (this.#isTimed) this.completedAt.push(process.hrtime.bigint());
    this.#onTurn(++this.turns);
  }
}
