import { syncBuiltinESMExports } from 'node:module';
import zlib from 'node:zlib';
import { vi, type MockInstance } from 'vitest';
import { onTestFinished } from './on-test-finished.js';

type Name = 'deflateRaw' | 'deflateRawSync';
type Deflate = (payload: Buffer, options: zlib.ZlibOptions, callback: zlib.CompressCallback) => void;

/** Watches a function of `node:zlib` during this test. It works as before, unless the test replaces it. */
export function spyOnZlib(name: Name): MockInstance<Deflate> {
  const spy = vi.spyOn(zlib, name) as unknown as MockInstance<Deflate>;
  // For modules that have imported the function by name.
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
  return spy;
}

/** From now on, compressions of this test that would run in the thread pool wait until `release` is called. */
export function holdDeflate(): { readonly spy: MockInstance<Deflate>; readonly release: () => void } {
  const deflateRaw = zlib.deflateRaw as Deflate;
  const held: (() => void)[] = [];
  let isHolding = true;
  const spy = spyOnZlib('deflateRaw').mockImplementation((...args) => {
    if (isHolding) held.push(() => deflateRaw(...args));
    else deflateRaw(...args);
  });
  const release = (): void => {
    isHolding = false;
    for (const start of held.splice(0)) start();
  };
  onTestFinished(release);
  return { spy, release };
}
