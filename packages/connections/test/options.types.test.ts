import { expect, test } from 'vitest';
import { ConnectionsPool, type ConnectionsPoolOptions } from '../src/index.js';

/** As read from the environment or from a configuration file. */
interface Settings {
  readonly idleTimeout: number | undefined;
  readonly closeTimeout: number | undefined;
  readonly maxBufferedBytes: number | undefined;
  readonly maxFlushMs: number | undefined;
  readonly onDuplicate: 'replace' | undefined;
  readonly onSlow: 'drop' | undefined;
  readonly heartbeat:
    { readonly interval: number | undefined; readonly timeout: number | undefined } | undefined;
  readonly rateLimit:
    | {
        readonly messagesPerSecond: number;
        readonly bytesPerSecond: number | undefined;
        readonly burst: number | undefined;
        readonly onExceeded: 'pause' | undefined;
      }
    | undefined;
  readonly compression: { readonly history: { readonly bytes: number | undefined } | undefined } | undefined;
}

// The options accepted `undefined` at run time, but with `exactOptionalPropertyTypes` (on here) an option that may be
// `undefined` did not compile.
test('the types allow undefined for every option', () => {
  const settings: Settings = {
    idleTimeout: undefined,
    closeTimeout: undefined,
    maxBufferedBytes: undefined,
    maxFlushMs: undefined,
    onDuplicate: undefined,
    onSlow: undefined,
    heartbeat: { interval: undefined, timeout: undefined },
    rateLimit: { messagesPerSecond: 5, bytesPerSecond: undefined, burst: undefined, onExceeded: undefined },
    compression: { history: { bytes: undefined } },
  };
  const options: ConnectionsPoolOptions = settings;
  expect(() => new ConnectionsPool(settings)).not.toThrow();
  expect(
    () =>
      new ConnectionsPool({
        ...options,
        heartbeat: undefined,
        rateLimit: undefined,
        compression: { history: undefined },
      }),
  ).not.toThrow();
});
