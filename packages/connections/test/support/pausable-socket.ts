import { MemorySocket } from './memory-socket.js';

/** A socket in memory that can be paused. While paused, it does not read the peer's answer to a close frame. */
export class PausableSocket extends MemorySocket {
  isPaused = false;

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    if (this.readyState === 2) this.end(this.closes[0]?.code, this.closes[0]?.reason);
  }

  override close(code?: number, reason?: string): void {
    if (!this.isPaused) {
      super.close(code, reason);
      return;
    }
    this.closes.push({ code, reason });
    this.readyState = 2;
  }

  /** A text message arrives. */
  text(message: string): void {
    this.emit('message', Buffer.from(message), false);
  }
}
