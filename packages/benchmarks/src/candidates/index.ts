import type { Candidate } from './candidate.js';
import { crossws } from './crossws.js';
import { raw } from './raw.js';
import { socketIo } from './socket-io.js';
import { soketi, soketiHistory } from './soketi.js';
import { uws } from './uws.js';
import { wsLoop } from './ws-loop.js';

/** The candidates, in the order in which they take turns. */
export const CANDIDATES = {
  soketi,
  'soketi-history': soketiHistory,
  'ws-loop': wsLoop,
  crossws,
  'socket.io': socketIo,
  raw,
  uws,
} as const satisfies Record<string, Candidate>;

export type CandidateName = keyof typeof CANDIDATES;

export const CANDIDATE_NAMES = Object.keys(CANDIDATES) as readonly CandidateName[];

/** A candidate as it is measured in one run. */
export interface Subject {
  /** In the tables. */
  readonly name: string;
  readonly candidate: CandidateName;
  readonly module: string;
}

/** @param against folder of a checkout in which this library is built: measured beside this one as `…-before` */
export function subjectsOf(names: readonly CandidateName[], against: URL | undefined): Subject[] {
  return names.flatMap((name): Subject[] => {
    const { module }: Candidate = CANDIDATES[name];
    const subject = { name, candidate: name, module };
    if (against === undefined || module !== soketi.module) return [subject];
    const before = new URL('packages/connections/dist/index.js', against);
    return [subject, { name: `${name}-before`, candidate: name, module: before.href }];
  });
}
