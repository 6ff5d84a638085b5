export { memoryBus, type MemoryBus, type MemoryBusOptions } from './cluster/memory-bus.js';
