import type { RelayCandidateName } from '../calls.js';
import type { RelayCandidate } from './candidate.js';
import { crossws } from './crossws.js';
import { jsonLoop } from './json-loop.js';
import { socketIo } from './socket-io.js';
import { soketi } from './soketi.js';

/** The candidates, in the order in which they take turns. */
export const RELAY_CANDIDATES = {
  soketi,
  'socket.io': socketIo,
  crossws,
  'json-loop': jsonLoop,
} as const satisfies Record<RelayCandidateName, RelayCandidate>;
