import { expect, test } from 'vitest';
import { ConnectionsPool } from '../src/index.js';

const POOL =
  'onDuplicate, idleTimeout, closeTimeout, maxBufferedBytes, onSlow, compression, heartbeat, maxFlushMs, ' +
  'maxRoomsPerConnection, conflateAboveBytes, rateLimit, adapter, cluster';

test.each<[string, object, string]>([
  ['maxBufferdBytes', { maxBufferdBytes: 5 }, `in the pool options. Valid options: ${POOL}`],
  ['intervall', { heartbeat: { intervall: 5 } }, 'in heartbeat. Valid options: interval, timeout'],
  [
    'messagesPerSec',
    { rateLimit: { messagesPerSec: 5 } },
    'in rateLimit. Valid options: messagesPerSecond, bytesPerSecond, burst, onExceeded',
  ],
  ['histroy', { compression: { histroy: true } }, 'in compression. Valid options: history'],
  ['size', { compression: { history: { size: 512 } } }, 'in compression.history. Valid options: bytes'],
])('the unknown option %s is refused, and the error names the valid ones', (name, options, text) => {
  // JavaScript ignores a typing error in the name of an option: the pool ran with the default.
  const make = (): unknown => new ConnectionsPool(options);
  expect(make).toThrow(TypeError);
  expect(make).toThrow(`Unknown option \`${name}\` ${text}`);
});
