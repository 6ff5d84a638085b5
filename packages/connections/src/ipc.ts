export { ipcAdapter, type IpcAdapterOptions } from './ipc/ipc-adapter.js';
export { relayWorkers, type WorkerRelay, type WorkerRelayOptions } from './ipc/relay-workers.js';
