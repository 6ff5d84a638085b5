import { Delivery } from '../../src/sending/delivery.js';
import { Envelope } from '../../src/sending/envelope.js';
import type { Entry } from '../../src/sending/slice.js';
import type { Agreement } from '../../src/wire/agreement.js';

/** One agreement for messages that are compressed on their own. */
export const STATELESS: Agreement = {
  isStateless: true,
  windowBits: 15,
  thresholdBytes: 0,
  level: undefined,
  memLevel: undefined,
};

/** A broadcast of which so many copies are on their way. */
export function deliveryOf(recipients: number): Delivery {
  const delivery = new Delivery();
  delivery.expect(recipients);
  return delivery;
}

/** Broadcasts as a log keeps them. */
export function entriesOf(
  messages: readonly (string | Uint8Array | ArrayBuffer | Blob)[],
  recipients = 1,
): Entry[] {
  return messages.map((message) => ({
    envelope: new Envelope(message),
    delivery: deliveryOf(recipients),
    isForAll: true,
    conflate: undefined,
    plainAtMs: 50,
  }));
}
