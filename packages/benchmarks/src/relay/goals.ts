import { atMost, timesLess, type Limit } from '../goals.js';
import type { RelayCandidateName, Transport } from './calls.js';

/** The goals for the CPU of both nodes per message, compared with another candidate, by transport and row. */
export const COST_GOALS: Readonly<
  Partial<Record<Transport, Readonly<Record<string, Readonly<Partial<Record<RelayCandidateName, Limit>>>>>>>
> = {
  'node-redis': {
    '64 B, 1 per turn': { 'socket.io': timesLess(1.4) },
    '64 B, 10 per turn': { 'socket.io': timesLess(5.5) },
    '64 B, 50 per turn': { 'socket.io': timesLess(12) },
    '64 B of bytes, 10 per turn': { soketi: atMost(1.05, { theirRow: '64 B, 10 per turn' }) },
    '1 KiB of bytes, 10 per turn': { soketi: atMost(1.05, { theirRow: '1 KiB, 10 per turn' }) },
  },
  ioredis: {
    '64 B, 1 per turn': { 'socket.io': timesLess(2.5) },
    '64 B, 10 per turn': { 'socket.io': timesLess(8) },
    '64 B, 50 per turn': { 'socket.io': timesLess(18) },
    '64 B of bytes, 10 per turn': { soketi: atMost(1.05, { theirRow: '64 B, 10 per turn' }) },
    '1 KiB of bytes, 10 per turn': { soketi: atMost(1.05, { theirRow: '1 KiB, 10 per turn' }) },
  },
};
