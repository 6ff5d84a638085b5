export { Broker, hasBroker, type BrokerName } from './broker.js';
export { answer, Caller, Remote, settled, withProcesses, type Started } from './remote.js';
export {
  CLIENT_CORE,
  cpuMicrosOf,
  cpuMs,
  describeRun,
  maxOpenFiles,
  memoryAtRest,
  nowMs,
  PINNING,
  SERVER_CORE,
  type Memory,
} from './machine.js';
export { OtherLoad } from './other-load.js';
export { formatPercent, formatSpread, markdown, type Table } from './report.js';
export { median, percentile } from './statistics.js';
