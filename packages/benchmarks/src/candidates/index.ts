import type { Candidate } from './candidate.js';
import { crossws } from './crossws.js';
import { raw } from './raw.js';
import { socketIo } from './socket-io.js';
import { soketi, soketiHistory } from './soketi.js';
import { UWS_MODULE, uws } from './uws.js';
import { wsLoop } from './ws-loop.js';

export interface Entry {
  readonly create: () => Candidate | Promise<Candidate>;
  /** The npm package whose version counts. */
  readonly module: string;
  readonly protocol: 'websocket' | 'socket.io';
  /** The most connections that one of its broadcasts can leave out. */
  readonly maxExceptions: number;
  readonly hasPrivateMessages: boolean;
  /** Differs from another candidate only where messages are compressed, and is measured there alone. */
  readonly isForDeflate: boolean;
}

const plain = {
  protocol: 'websocket',
  maxExceptions: Infinity,
  hasPrivateMessages: true,
  isForDeflate: false,
} as const;

/** The candidates, in the order in which they take turns. */
export const CANDIDATES = {
  soketi: { ...plain, create: () => soketi(), module: '@soketi/connections' },
  'soketi-history': {
    ...plain,
    create: soketiHistory,
    module: '@soketi/connections',
    isForDeflate: true,
  },
  'ws-loop': { ...plain, create: wsLoop, module: 'ws' },
  crossws: { ...plain, create: crossws, module: 'crossws', maxExceptions: 1 },
  'socket.io': { ...plain, create: socketIo, module: 'socket.io', protocol: 'socket.io' },
  raw: { ...plain, create: raw, module: 'ws', maxExceptions: 0, hasPrivateMessages: false },
  uws: { ...plain, create: uws, module: UWS_MODULE, maxExceptions: 1 },
} as const satisfies Record<string, Entry>;

export type CandidateName = keyof typeof CANDIDATES;

export const CANDIDATE_NAMES = Object.keys(CANDIDATES) as readonly CandidateName[];

export function entryOf(name: CandidateName): Entry {
  return CANDIDATES[name];
}
