/**
 * Counts the writes that wait in a stream, from the moment at which something waits until nothing does. When the system is
 * ready, the stream hands it the whole queue at once; those writes still wait, although the queue is empty.
 */
export class WaitingWrites {
  /** The queue when it was last looked at, and the writes that the system was taking then. */
  #queued = 0;
  #running = 0;

  /** @param queued writes in the queue */
  count(queued: number): number {
    if (queued < this.#queued) this.#running = this.#queued;
    this.#queued = queued;
    return queued + this.#running;
  }
}
