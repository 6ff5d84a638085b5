import type { DeflateWindow } from '../sockets/ws.js';
import type { Agreement } from '../wire/agreement.js';
import { reach, type Segment } from '../wire/shared-history.js';
import type { EncodedSlice, Slice } from './slice.js';

/**
 * Parts of a turn begin at many places. If their messages referred to each other, they would be compressed once for each
 * of these places; so none refers to anything.
 */
const EACH_ALONE = Infinity;

/**
 * How much of its namespace's history one member's window ends with: an unbroken run of segments.
 *
 * Whatever the member misses (excepted, dropped, sent plain) leaves a gap: the next segment does not begin where the
 * run ended. Anything else that is compressed for the socket takes the window over.
 */
export class HistoryRun {
  readonly agreement: Agreement;
  readonly #window: DeflateWindow;
  #start = 0;
  #end = -1;

  constructor(agreement: Agreement, window: DeflateWindow) {
    this.agreement = agreement;
    this.#window = window;
  }

  /** The member holds everything that the slice refers to when it is compressed for most members. */
  isInStep({ first }: Slice): boolean {
    return first === undefined || this.#startFor(first) <= first.start - reach(this.agreement, first);
  }

  /** From where on it holds the history, if it holds some of what the slice could refer to, but not all. */
  behindFrom({ first }: Slice): number | undefined {
    if (first === undefined) return undefined;
    const start = this.#startFor(first);
    return start < first.start ? start : undefined;
  }

  /** The bytes of the slice for this member. They have to be written: its window is taken to hold them. */
  take(slice: Slice): EncodedSlice {
    const encoded = this.#encode(slice);
    // The window ends with something else.
    if (encoded.endsRun) this.#window.owner = undefined;
    return encoded;
  }

  #encode(slice: Slice): EncodedSlice {
    const { first } = slice;
    if (first === undefined) return slice.encoded(this.agreement, EACH_ALONE);
    const start = this.#startFor(first);
    const fullFrom = first.start - reach(this.agreement, first);
    const from = start <= fullFrom ? fullFrom : Math.max(start, slice.behindFrom ?? EACH_ALONE);
    const encoded = slice.encoded(this.agreement, from);
    this.#start = encoded.restart ?? start;
    this.#end = slice.end;
    this.#window.owner = this;
    return encoded;
  }

  /** The position from which on the member holds everything before `first`; the start of `first` for nothing. */
  #startFor(first: Segment): number {
    return this.#window.owner === this && this.#end === first.start ? this.#start : first.start;
  }
}
