/** How a connection is being closed. Made for that: an open connection does not carry it around. */
export class ClosingState {
  /** When it is terminated, on the wheel's clock, in ms; `Infinity` until that is known. */
  deadlineMs = Infinity;
  /** It was ended without a closing handshake. */
  wasTerminated = false;
  #settle: (() => void) | undefined;
  #whenClosed: Promise<void> | undefined;

  /** Resolves when it has closed. */
  get whenClosed(): Promise<void> {
    return (this.#whenClosed ??= new Promise((settle) => (this.#settle = settle)));
  }

  /** It has closed. */
  settle(): void {
    this.#settle?.();
  }
}
