import type { MessageSettings, Transport } from './calls.js';

/** One kind of message, at one rate. */
export interface CostRow extends MessageSettings {
  readonly perTurn: number;
}

const row = (bytes: number, perTurn: number, rest: Partial<MessageSettings> = {}): CostRow => {
  return { bytes, perTurn, body: 'text', hasException: false, ...rest };
};

/** Rows with an exception come last: from then on the receiver has a second member. */
const CHOSEN: readonly CostRow[] = [
  row(64, 1),
  row(64, 10),
  row(64, 50),
  row(1024, 1),
  row(1024, 10),
  row(16_384, 1),
  row(16_384, 10),
  row(64, 10, { body: 'binary' }),
  row(1024, 10, { body: 'binary' }),
  row(64, 10, { hasException: true }),
];
/** One size is enough for some transports: the others show what the size changes. */
const CHOSEN_BRIEFLY = CHOSEN.filter(({ bytes }) => bytes === 64);

const FULL: readonly CostRow[] = [false, true].flatMap((hasException) =>
  (['text', 'binary'] as const).flatMap((body) =>
    [64, 1024, 16_384].flatMap((bytes) =>
      [1, 10, 50].map((perTurn) => row(bytes, perTurn, { body, hasException })),
    ),
  ),
);

/** The rows that are measured over a transport. */
export function rowsOf(transport: Transport, isFull: boolean): readonly CostRow[] {
  if (isFull) return FULL;
  return transport === 'node-redis' || transport === 'ioredis' ? CHOSEN : CHOSEN_BRIEFLY;
}

export function labelOf({ bytes, perTurn, body, hasException }: CostRow): string {
  const size = bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
  const details = [body === 'binary' ? ' of bytes' : '', hasException ? ', one left out' : ''].join('');
  return `${size}${details}, ${perTurn} per turn`;
}
