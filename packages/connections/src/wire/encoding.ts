import type { Agreement } from './agreement.js';

/**
 * Which bytes a recipient needs. Recipients with equal encodings share the same bytes:
 *
 * - plain: no agreement; the frame as it is;
 * - deflated: a stateless agreement; each message compressed on its own;
 * - history: `from` says how much of the shared history the messages may refer to.
 */
export interface Encoding {
  readonly agreement: Agreement | undefined;
  /** Only with a shared history: its position from which on the recipient holds it. `Infinity`: refer to nothing. */
  readonly from: number | undefined;
}

export const PLAIN: Encoding = Object.freeze({ agreement: undefined, from: undefined });

const known = new WeakMap<Agreement, Encoding>();

/** The encoding for sockets that agreed to compress each message on its own: one object per agreement. */
export function deflated(agreement: Agreement): Encoding {
  let encoding = known.get(agreement);
  if (encoding === undefined)
    known.set(agreement, (encoding = Object.freeze({ agreement, from: undefined })));
  return encoding;
}
