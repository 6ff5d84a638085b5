import type { Scenario } from '../context.js';
import { deflate } from './deflate.js';
import { exceptions } from './exceptions.js';
import { fanOut } from './fan-out.js';
import { latency } from './latency.js';
import { memory } from './memory.js';
import { mixed } from './mixed.js';
import { registry } from './registry.js';

export const SCENARIOS: ReadonlyMap<string, Scenario> = new Map<string, Scenario>([
  ['fan-out', fanOut],
  ['deflate', deflate],
  ['mixed', mixed],
  ['exceptions', exceptions],
  ['latency', latency],
  ['registry', registry],
  ['memory', memory],
]);
