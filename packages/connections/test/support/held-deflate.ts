import { syncBuiltinESMExports } from 'node:module';
import zlib from 'node:zlib';
import { vi } from 'vitest';
import { onTestFinished } from './on-test-finished.js';

/** Has compressions of this test that would run in the thread pool wait until `release` is called. */
export function holdDeflate(): { readonly release: () => void } {
  const { deflateRaw } = zlib;
  const held: (() => void)[] = [];
  const spy = vi.spyOn(zlib, 'deflateRaw').mockImplementation((...args: unknown[]) => {
    held.push(() => void Reflect.apply(deflateRaw, zlib, args));
  });
  // What others have imported by name follows.
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
  return {
    release: () => {
      for (const start of held.splice(0)) start();
    },
  };
}
