import { constants, createInflateRaw, type InflateRaw } from 'node:zlib';

/** What permessage-deflate leaves out at the end of each message (RFC 7692 §7.2.2). */
const TRAILER = Buffer.of(0x00, 0x00, 0xff, 0xff);

/**
 * Decompresses what one client has received since it connected. Where each message starts from an empty window the
 * kept one does no harm, so that both kinds of agreement are read alike.
 */
export class Inflater {
  readonly #zlib: InflateRaw = createInflateRaw();
  #chunks: Buffer[] = [];

  constructor() {
    this.#zlib.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
  }

  /** The messages one after the other, decompressed. */
  async inflate(payloads: readonly Buffer[]): Promise<string> {
    this.#chunks = [];
    for (const payload of payloads) {
      this.#zlib.write(payload);
      await new Promise<void>((resolve, reject) => {
        this.#zlib.once('error', reject);
        this.#zlib.write(TRAILER);
        this.#zlib.flush(constants.Z_SYNC_FLUSH, () => {
          this.#zlib.removeListener('error', reject);
          resolve();
        });
      });
    }
    return Buffer.concat(this.#chunks).toString();
  }
}
