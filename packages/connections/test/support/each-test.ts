import { aroundEach } from 'vitest';
import { ofTest } from './on-test-finished.js';

// A setup file, not an import of those who need it: Vitest forgets hooks after each file, but keeps modules.
aroundEach((runTest, { onTestFinished }) => ofTest.run(onTestFinished, runTest));
