export { answer, Remote, settled, withProcesses, type RemoteOptions, type Started } from './remote.js';
export {
  CLIENT_CORE,
  describeRun,
  maxOpenFiles,
  memoryAtRest,
  nowMs,
  PINNING,
  SERVER_CORE,
  type Memory,
} from './machine.js';
export { OtherLoad } from './other-load.js';
export { format, formatPercent, formatSpread, markdown, type Table } from './report.js';
export { median, percentile } from './statistics.js';
