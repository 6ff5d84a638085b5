import type { Client, Receive, Receiver } from './client.js';
import { Pending } from './pending.js';

/** A new connection has this long to become ready, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Between two attempts to connect, in ms. It doubles each time, and begins anew after a connection that has lasted. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** One of them ends a connection, whichever comes first. */
const LOSS_EVENTS = ['error', 'close', 'end'];

/** The connection that receives. Whenever it is lost, a new one is made, without subscriptions. */
export class Receiving {
  readonly #source: Client;
  readonly #receive: Receive;
  readonly #onChange: (error?: Error) => void;
  readonly #pending = new Pending();
  #receiver: Receiver | undefined;
  #readyAt: number | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param source makes the connections
   * @param onChange hears when the connection is ready, and of each that is lost or could not be made
   */
  constructor(source: Client, receive: Receive, onChange: (error?: Error) => void) {
    this.#source = source;
    this.#receive = receive;
    this.#onChange = onChange;
  }

  get isReady(): boolean {
    return this.#readyAt !== undefined;
  }

  async subscribe(names: readonly string[]): Promise<void> {
    await this.#pending.settle(this.#ready().subscribe(names));
  }

  async unsubscribe(names: readonly string[]): Promise<void> {
    await this.#pending.settle(this.#ready().unsubscribe(names));
  }

  connect(): void {
    let receiver: Receiver;
    try {
      receiver = this.#source.duplicate(this.#receive);
    } catch (error) {
      this.#retry(error as Error);
      return;
    }
    this.#receiver = receiver;
    const lose = (error?: Error): void =>
      this.#lose(receiver, error ?? new Error('Redis has closed the connection'));
    // They stay: a client that fails once more, after it was given up, would end the process.
    for (const event of LOSS_EVENTS) receiver.on(event, lose);
    this.#timer = setTimeout(
      () => lose(new Error('Redis has not accepted a connection')),
      CONNECT_TIMEOUT_MS,
    );
    receiver.connect().then(() => {
      if (this.#receiver !== receiver) return;
      clearTimeout(this.#timer);
      this.#readyAt = performance.now();
      this.#onChange();
    }, lose);
  }

  /** Makes a new connection at once. */
  reconnect(): void {
    this.close();
    this.#onChange();
    this.connect();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#drop(new Error('The connection is closed'));
  }

  #ready(): Receiver {
    if (this.#receiver === undefined || !this.isReady) throw new Error('Redis is not connected');
    return this.#receiver;
  }

  #lose(receiver: Receiver, error: Error): void {
    if (this.#receiver !== receiver) return;
    clearTimeout(this.#timer);
    // One that is lost again at once must not bring all nodes back at full speed, with all their channels.
    const hasLasted = this.#readyAt !== undefined && performance.now() - this.#readyAt > LONGEST_PAUSE_MS;
    if (hasLasted) this.#pauseMs = FIRST_PAUSE_MS;
    this.#drop(error);
    this.#retry(error);
  }

  #drop(error: Error): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    this.#readyAt = undefined;
    this.#pending.fail(error);
    receiver?.destroy();
  }

  #retry(error: Error): void {
    // Nodes that have lost their connections together do not come back together.
    const pauseMs = this.#pauseMs * (0.5 + Math.random());
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#timer = setTimeout(() => this.connect(), pauseMs);
    this.#onChange(error);
  }
}
