import { expect, test } from 'vitest';
import { HistoryModel } from './support/history-model.js';
import { Loopback } from './support/loopback.js';

test('x', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const loopback = await Loopback.start({ perMessageDeflate: { threshold: 0 } });
    const model = new HistoryModel({
      seed,
      loopback,
      steps: 250,
      historyBytes: 8192,
      ...(seed % 3 === 2 && { maxBufferedBytes: 40_000 }),
    });
    const t = Date.now();
    await model.run();
    const {compressions,compressedMessages,broadcasts,dropped,compressedBytesIn,compressedBytesOut,messagesSent}=model.pool.stats();console.log(seed, Date.now() - t, {compressions,compressedMessages,broadcasts,dropped,compressedBytesIn,compressedBytesOut,messagesSent});
  }
  expect(1).toBe(1);
}, 60_000);
