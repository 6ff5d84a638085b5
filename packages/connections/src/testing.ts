export { memoryBus, type MemoryBus, type MemoryBusOptions } from './cluster/memory-bus.js';
export {
  socketPair,
  type PairedMessage,
  type PairedSendOptions,
  type PairedSocket,
  type SocketPair,
} from './sockets/socket-pair.js';
export type { PairedEvent, PairedListener, PairedSocketEvents } from './sockets/standard-events.js';
