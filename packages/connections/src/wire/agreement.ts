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

const known = new Map<string, Agreement>();

/** Returns one object for equal agreements, so that identity tells which frames sockets can share. */
export function internAgreement(agreement: Agreement): Agreement {
  const key = JSON.stringify(agreement);
  const first = known.get(key);
  if (first === undefined) known.set(key, agreement);
  return first ?? agreement;
}

/** zlib cannot write a raw stream for a window of 8 bits; such sockets get plain frames. */
export function canCompress({ windowBits, thresholdBytes }: Agreement, payloadBytes: number): boolean {
  return windowBits > 8 && payloadBytes >= Math.max(thresholdBytes, 1);
}
