import { aroundEach } from 'vitest';
import { ofTest } from './on-test-finished.js';

// This is a setup file and not an import of the tests that need it: Vitest forgets hooks after each file, but keeps
// modules.
aroundEach((runTest, { onTestFinished }) => ofTest.run(onTestFinished, runTest));
