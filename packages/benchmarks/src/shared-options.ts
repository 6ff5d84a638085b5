/** The options that benchmarks on one node and between nodes share, as `parseArgs` takes them. */
export const SHARED_OPTIONS = {
  quick: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  write: { type: 'boolean', default: false },
  rounds: { type: 'string', default: '5' },
  'round-ms': { type: 'string' },
  profile: { type: 'string' },
} as const;

interface SharedValues {
  readonly quick: boolean;
  readonly full: boolean;
  readonly write: boolean;
  readonly rounds: string;
  readonly 'round-ms'?: string | undefined;
  readonly profile?: string | undefined;
}

export interface SharedOptions {
  readonly isQuick: boolean;
  readonly isFull: boolean;
  readonly isWriting: boolean;
  readonly rounds: number;
  /** CPU of the measured nodes in a round: each candidate's number of messages is chosen for it. */
  readonly roundMs: number;
  /** Options of Node.js for the measured processes. */
  readonly profileArgs: readonly string[];
}

/** @param defaultRoundMs by default, and with `--quick` */
export function readShared(
  values: SharedValues,
  defaultRoundMs: { readonly normal: string; readonly quick: string },
): SharedOptions {
  const { quick: isQuick, full: isFull, write: isWriting, rounds, profile } = values;
  return {
    isQuick,
    isFull,
    isWriting,
    rounds: toCount(rounds),
    roundMs: toCount(values['round-ms'] ?? (isQuick ? defaultRoundMs.quick : defaultRoundMs.normal)),
    profileArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  };
}

function toCount(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`Expected a positive integer, got ${text}`);
  return count;
}

export function oneOf<T extends string>(names: readonly T[], text: string): T {
  const name = names.find((each) => each === text);
  if (name === undefined) throw new Error(`Expected one of ${names.join(', ')}, got ${text}`);
  return name;
}
