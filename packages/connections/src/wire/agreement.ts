/** What a socket negotiated about compressing the server's messages (permessage-deflate, RFC 7692 §7.1). */
export interface Agreement {
  /** Every message starts from an empty window, so one compressed payload can serve many sockets. */
  readonly isStateless: boolean;
  /** Size of the client's window, as a power of two. Range: 8 to 15. */
  readonly windowBits: number;
  /** Smaller payloads are sent uncompressed, in bytes. */
  readonly thresholdBytes: number;
  readonly level: number | undefined;
  readonly memLevel: number | undefined;
}

/**
 * Window sizes that messages are compressed for. Clients choose theirs, and each size costs a compression of every
 * message: with all seven, a few hostile clients could hold up the event loop.
 */
const WINDOW_BITS = [15, 12, 9] as const;
/** zlib has no smaller window for raw streams. */
const MIN_WINDOW_BITS = 9;
/** zlib cannot reach this many bytes at the far end of its window (`MIN_LOOKAHEAD`). */
const LOOKAHEAD_BYTES = 262;

const known = new Map<string, Agreement>();

/**
 * Returns one object for agreements that are served with the same frames, so that identity tells which sockets can
 * share them. A window is rounded down: what is compressed for a smaller window fits a larger one (RFC 7692 §7.2.1).
 */
export function internAgreement(agreed: Agreement): Agreement {
  const windowBits = WINDOW_BITS.find((bits) => bits <= agreed.windowBits) ?? agreed.windowBits;
  const agreement: Agreement = { ...agreed, windowBits };
  const key = JSON.stringify(agreement);
  const first = known.get(key);
  if (first === undefined) known.set(key, agreement);
  return first ?? agreement;
}

/** zlib cannot write a raw stream for a window of 8 bits; such sockets get plain frames. */
export function canCompress({ windowBits, thresholdBytes }: Agreement, payloadBytes: number): boolean {
  return windowBits >= MIN_WINDOW_BITS && payloadBytes >= Math.max(thresholdBytes, 1);
}

/**
 * The window that a message is compressed with. It is no larger than the input needs: setting one up costs more than
 * compressing a small message.
 *
 * @param inputBytes size of the message and its dictionary
 */
export function windowBitsFor({ windowBits }: Agreement, inputBytes: number): number {
  const needed = Math.ceil(Math.log2(inputBytes + LOOKAHEAD_BYTES));
  return Math.min(windowBits, Math.max(MIN_WINDOW_BITS, needed));
}

/** Whether an input of this size gives the same compressed bytes for both agreements. */
export function compressAlike(a: Agreement, b: Agreement, inputBytes: number): boolean {
  if (a === b) return true;
  if (a.level !== b.level || a.memLevel !== b.memLevel) return false;
  return windowBitsFor(a, inputBytes) === windowBitsFor(b, inputBytes);
}
